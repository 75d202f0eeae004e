#!/usr/bin/env python3
"""Runs the user's guide, word for word, against `bulkhead up --sandbox`.

    deploy/local/try-guide.py GUIDE.md BULKHEAD

Takes the guide's Python script and replaces the values of its configuration only; runs its psql queries; sends its curl body with
the key escaped (as its comment says) and not. Needs the `requests` package, which the guide's script imports.
"""
import json, os, pathlib, re, subprocess, sys, tempfile, time, urllib.error, urllib.request

guide, bulkhead = pathlib.Path(sys.argv[1]).read_text(), sys.argv[2]
blocks = re.findall(r"```(\w+)\n(.*?)```", guide, re.S)


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def wait_for(url):
    for _ in range(300):
        try:
            return get(url)
        except (OSError, ValueError):
            time.sleep(0.1)
    sys.exit(f"{url} never answered")


def python_script(config):
    script = next(code for kind, code in blocks if kind == "python" and "export_all_groups" in code)
    values = {"FHIR_SERVER_URL": config["fhir_url"], "TOKEN_URL": config["token_endpoint"], "CLIENT_ID": config["client_id"]}
    for name, value in values.items():
        script, n = re.subn(rf'^{name} = ".*?"', lambda _: f"{name} = {value!r}", script, flags=re.M)
        assert n == 1, name
    script, n = re.subn(r"^PRIVATE_KEY = \{.*?^\}", lambda _: f"PRIVATE_KEY = {config['key']!r}", script, flags=re.M | re.S)
    assert n == 1, "PRIVATE_KEY"
    return script


def curl_script(config, key):
    script = next(code for kind, code in blocks if kind == "bash" and "curl -X POST" in code)
    values = {"FHIR_SERVER": config["fhir_url"], "TOKEN_URL": config["token_endpoint"], "CLIENT_ID": config["client_id"]}
    for name, value in values.items():
        script, n = re.subn(rf'^{name}=".*?"', lambda _: f'{name}="{value}"', script, flags=re.M)
        assert n == 1, name
    script, n = re.subn(r"^PRIVATE_KEY='.*?'", lambda _: f"PRIVATE_KEY='{key}'", script, flags=re.M)
    assert n == 1, "PRIVATE_KEY"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60).stdout


def queries():
    block = next(code for kind, code in blocks if kind == "bash" and "FROM patients" in code)
    return re.findall(r"^SELECT.*?;", block, re.M | re.S)


folder = pathlib.Path(tempfile.mkdtemp(prefix="bulkhead-guide-", dir="/tmp"))
folder.chmod(0o755)
data = folder / "data"
environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
service = subprocess.Popen([bulkhead, "--data-dir", data, "up", "--sandbox"], stdout=subprocess.DEVNULL, env=environment)
try:
    wait_for("http://127.0.0.1:8001/health/ready")
    config = wait_for("http://127.0.0.1:8090/sandbox/config")
    script = folder / "export_groups.py"
    script.write_text(python_script(config))
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=900)
    print(ran.stdout[-1500:], ran.stderr)
    assert "成功: 8/8" in ran.stdout, "the guide's script did not export all Groups"

    key = json.dumps(config["key"], separators=(",", ":"))
    escaped = json.loads(curl_script(config, key.replace('"', '\\"')))
    assert escaped["job_id"], escaped
    print("curl, key escaped:  ", escaped["status"], escaped["job_id"])
    plain = json.loads(curl_script(config, key))
    assert plain["status"] == 400 and "escape" in plain["detail"], plain
    print("curl, key unescaped:", plain["detail"])
    assert get(f"http://localhost:8002/api/bulk-data/status/{escaped['job_id']}")["job_id"] == escaped["job_id"]
    assert len(get("http://localhost:8002/api/bulk-data/jobs")["jobs"]) == 9

    for sql in queries():
        psql = ["psql", "-h", data / "run", "-U", "fhir_user", "-d", "fhir_analytics", "-c", sql]
        out = subprocess.run(psql, capture_output=True, text=True, check=True).stdout
        print(out)
        assert "(8 rows)" in out or "(9 rows)" in out, out
finally:
    service.terminate()
    service.wait(60)
    subprocess.run(["rm", "-rf", folder], check=False)
print("the guide works as written")
