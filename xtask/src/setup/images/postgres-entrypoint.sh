#!/bin/bash
# The contract of the official PostgreSQL image's entry point, as far as a Compose stack relies on it:
# make the cluster on an empty volume, run /docker-entrypoint-initdb.d once, then become the server.
set -Eeo pipefail
shopt -s nullglob

fail() {
	printf '%s\n' "$@" >&2
	exit 1
}

# file_env VAR [DEFAULT]: take VAR, or the content of the file that VAR_FILE names; both is an error.
file_env() {
	local var=$1 file_var="${1}_FILE"
	if [ -n "${!var-}" ] && [ -n "${!file_var-}" ]; then
		fail "error: both $var and $file_var are set (they exclude each other)"
	fi
	if [ -n "${!file_var-}" ]; then
		export "$var"="$(<"${!file_var}")"
	elif [ -z "${!var-}" ]; then
		export "$var"="${2-}"
	fi
	unset "$file_var"
}

# As root: make the folders belong to postgres, then start again as postgres.
become_postgres() {
	mkdir -p "$PGDATA" /var/run/postgresql
	chmod 00700 "$PGDATA"
	chmod 03775 /var/run/postgresql
	find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
	find /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
	exec setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/var/lib/postgresql "$BASH_SOURCE" "$@"
}

require_password() {
	if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD-}" != trust ]; then
		fail 'error: the database is uninitialised and no superuser password is given' \
			'hint: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE'
	fi
}

init_cluster() {
	local args=()
	eval "args=(${POSTGRES_INITDB_ARGS-})"
	initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${args[@]}"
	local method=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}
	printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

sql() {
	PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --username "$POSTGRES_USER" "$@"
}

create_database() {
	local known
	known=$(sql --dbname postgres --set db="$POSTGRES_DB" --tuples-only \
		<<<"SELECT 1 FROM pg_database WHERE datname = :'db';")
	if [ -z "$known" ]; then
		sql --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
	fi
}

run_init_files() {
	local f
	for f in /docker-entrypoint-initdb.d/*; do
		printf '%s: running %s\n' "$0" "$f"
		case $f in
		*.sh) if [ -x "$f" ]; then "$f"; else . "$f"; fi ;;
		*.sql) sql --dbname "$POSTGRES_DB" -f "$f" ;;
		*.sql.gz) gunzip -c "$f" | sql --dbname "$POSTGRES_DB" ;;
		*) printf '%s: ignoring %s\n' "$0" "$f" ;;
		esac
	done
}

# Whether the server is only asked about itself.
is_question() {
	local argument
	for argument; do
		case $argument in -'?' | --help | --describe-config | -V | --version) return 0 ;; esac
	done
	return 1
}

main() {
	# Options alone mean: the server, with these options.
	if [ "${1:0:1}" = '-' ]; then set -- postgres "$@"; fi
	if [ "$1" != postgres ] || is_question "$@"; then exec "$@"; fi
	if [ "$(id -u)" = 0 ]; then become_postgres "$@"; fi

	if [ ! -s "$PGDATA/PG_VERSION" ]; then
		file_env POSTGRES_PASSWORD
		file_env POSTGRES_USER postgres
		file_env POSTGRES_DB "$POSTGRES_USER"
		file_env POSTGRES_INITDB_ARGS
		require_password
		init_cluster
		export PGPASSWORD="${POSTGRES_PASSWORD-}"
		shift
		pg_ctl -D "$PGDATA" -w start -o "-c listen_addresses='' -p 5432 ${*@Q}"
		create_database
		run_init_files
		pg_ctl -D "$PGDATA" -m fast -w stop
		unset PGPASSWORD
		set -- postgres "$@"
		printf '\nPostgreSQL init process complete; ready for start up.\n\n'
	fi
	exec "$@"
}

main "$@"
