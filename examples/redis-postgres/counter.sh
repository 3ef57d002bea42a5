# Counts in redis, stores each count in PostgreSQL.
set -eu
sql() { psql --quiet --no-psqlrc --host 127.0.0.1 --port 15432 --dbname postgres --command "$1"; }
sql "create table if not exists counts (n bigint, at timestamptz default now())"
while :; do
    n=$(redis-cli -p 16379 incr hearth-example)
    sql "insert into counts (n) values ($n)"
    echo "stored $n"
    sleep 1
done
