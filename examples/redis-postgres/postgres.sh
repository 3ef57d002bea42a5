# postgres.sh init|run: a PostgreSQL with its data under $TMPDIR, wherever its programs are.
set -eu
PATH="$PATH:$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)"
data="${TMPDIR:-/tmp}/hearth-example-postgres-$(id -u)"
case "$1" in
init)
    [ -s "$data/PG_VERSION" ] || initdb --pgdata "$data" --auth trust --no-sync
    ;;
run)
    exec postgres -D "$data" -c listen_addresses=127.0.0.1 -c port=15432 -c unix_socket_directories=
    ;;
esac
