#!/usr/bin/env python3
"""Runs the code blocks of a guide of ours, in their order, in one shell, against `bulkhead up --sandbox`.

    deploy/local/run-guide.py GUIDE.md BULKHEAD

A block after a line `<!-- not run: why -->` is left out, and told. SQL goes through psql, statement by statement; each must give a row or none,
never an error. Needs python3, curl and psql; ports 8001, 8002, 3000 and 8090 must be free.
"""
import os, pathlib, re, subprocess, sys, tempfile, time, urllib.error, urllib.request

guide, bulkhead = pathlib.Path(sys.argv[1]).read_text(), str(pathlib.Path(sys.argv[2]).resolve())
BLOCK = re.compile(r"(?:<!-- not run: (?P<why>.*?) -->\n)?```(?P<kind>\w+)\n(?P<code>.*?)```", re.S)


def wait_for(url):
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=10)
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{url} never answered")


def shell():
    """All blocks as one script; a block that fails ends it."""
    yield "set -euo pipefail"
    for n, block in enumerate(BLOCK.finditer(guide), 1):
        kind, code = block["kind"], block["code"]
        if block["why"]:
            print(f"block {n} is not run: {block['why']}")
            continue
        yield f"echo '-- block {n} ({kind})'"
        if kind == "bash":
            yield code
        elif kind == "sql":
            yield f"psql -v ON_ERROR_STOP=1 -h \"$PWD/data/run\" -U fhir_user -d fhir_analytics <<'SQL'\n{code}SQL"
        else:
            sys.exit(f"block {n}: nobody runs {kind} here")


with tempfile.TemporaryDirectory(prefix="bulkhead-guide-", dir="/tmp") as folder:
    os.chmod(folder, 0o755)
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    service = subprocess.Popen([bulkhead, "--data-dir", "data", "up", "--sandbox"], cwd=folder, stdout=subprocess.DEVNULL, env=environment)
    try:
        wait_for("http://127.0.0.1:8001/health/ready")
        wait_for("http://127.0.0.1:8090/sandbox/config")
        ran = subprocess.run(["bash"], input="\n".join(shell()), cwd=folder, env=environment, text=True, timeout=900)
    finally:
        service.terminate()
        service.wait(60)
if ran.returncode:
    sys.exit(f"the guide does not work as written: its last block ended with {ran.returncode}")
print("the guide works as written")
