#!/usr/bin/env bash
# Makes the images that deploy/Dockerfile and docker-compose.yml name, on a machine that cannot pull them: from Debian's packages and this
# machine's Rust. Needs root, docker, debootstrap. Nobody who can pull needs it.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
there() { docker image inspect "$1" >/dev/null 2>&1; }
in_base() { chroot "$1" env DEBIAN_FRONTEND=noninteractive "${@:2}"; }

if there rust:1.95-slim-bookworm && there gcr.io/distroless/cc-debian12:nonroot && there postgres:15; then
    echo "all base images are there"
    exit 0
fi

debootstrap --variant=minbase --include=ca-certificates bookworm "$work/base" "$mirror" >"$work/log" || { tail "$work/log"; exit 1; }
# This machine's certificate authorities, where a proxy has one of its own.
cp /etc/ssl/certs/ca-certificates.crt "$work/base/etc/ssl/certs/ca-certificates.crt"

if ! there rust:1.95-slim-bookworm; then
    cp -a "$work/base" "$work/rust"
    in_base "$work/rust" apt-get install -y -qq --no-install-recommends gcc libc6-dev >/dev/null
    toolchain=$(rustc --print sysroot)
    mkdir -p "$work/rust/usr/local/rust"
    for part in bin lib libexec; do
        [ ! -d "$toolchain/$part" ] || cp -a "$toolchain/$part" "$work/rust/usr/local/rust/"
    done
    tar -C "$work/rust" -c . | docker import -c 'ENV PATH=/usr/local/cargo/bin:/usr/local/rust/bin:/usr/local/bin:/usr/bin:/bin' \
        -c 'ENV CARGO_HOME=/usr/local/cargo' -c 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' - rust:1.95-slim-bookworm >/dev/null
    rm -rf "$work/rust"
    echo "rust:1.95-slim-bookworm"
fi

if ! there gcr.io/distroless/cc-debian12:nonroot; then
    # As the real one: the C library and its companions, certificates, time zones, a user without rights; no shell, no package manager.
    mkdir -p "$work/small"/{etc/ssl/certs,tmp,home/nonroot} "$work/debs"
    (cd "$work/debs" && apt-get download -qq libc6 libgcc-s1 libstdc++6 tzdata base-files 2>/dev/null && for deb in ./*.deb; do dpkg -x "$deb" "$work/small"; done)
    cp "$work/base/etc/ssl/certs/ca-certificates.crt" "$work/small/etc/ssl/certs/"
    printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$work/small/etc/passwd"
    printf 'root:x:0:\nnonroot:x:65532:\n' >"$work/small/etc/group"
    chown 65532:65532 "$work/small/home/nonroot"
    chmod 1777 "$work/small/tmp"
    tar -C "$work/small" -c . | docker import -c 'USER 65532' -c 'WORKDIR /home/nonroot' -c 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
        - gcr.io/distroless/cc-debian12:nonroot >/dev/null
    echo "gcr.io/distroless/cc-debian12:nonroot"
fi

if ! there postgres:15; then
    in_base "$work/base" apt-get install -y -qq --no-install-recommends postgresql-15 postgresql-contrib >/dev/null
    cat >"$work/base/usr/local/bin/docker-entrypoint.sh" <<'SCRIPT'
#!/bin/bash
# What this stack uses of the real image's entrypoint: the first start makes the role and the database.
set -e
export PGDATA=${PGDATA:-/var/lib/postgresql/data} PATH=/usr/lib/postgresql/15/bin:$PATH
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown -R postgres "$PGDATA" /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    chmod 700 "$PGDATA"
    initdb -U "$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD") -A scram-sha-256 --auth-local=trust -E UTF8 --locale=C.UTF-8 >/dev/null
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl -o "-c listen_addresses=''" -w start >/dev/null
    createdb -h /var/run/postgresql -U "$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl -m fast -w stop >/dev/null
fi
[ "$1" = postgres ] && shift
exec postgres -c 'listen_addresses=*' "$@"
SCRIPT
    chmod +x "$work/base/usr/local/bin/docker-entrypoint.sh"
    tar -C "$work/base" -c . | docker import -c 'ENTRYPOINT ["docker-entrypoint.sh"]' -c 'CMD ["postgres"]' -c 'EXPOSE 5432' \
        -c 'ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - postgres:15 >/dev/null
    echo "postgres:15"
fi
