# Starts postgres on demand, and ends it when the pipe on standard input reaches its end. See doc.go.
#
# Arguments: directory, directory of the binaries, initdb's options as one word list, then postgres' options.
# Commands, one a line: "init", "copy DIRECTORY", "start PORT", "stop". Answers on standard output: "init STATUS" to the first
# two, "started PID", "ended PID STATUS". Logs go to standard error.

dir=$1 bin=$2 initopts=$3
shift 3

trap '' PIPE HUP
exec 3<&0 </dev/null

while read -r verb arg <&3; do
	case $verb in
	init)
		"$bin/initdb" -D "$dir/data" $initopts --pwfile="$dir/password" >&2 3<&-
		status=$?
		rm -f "$dir/password"
		echo "init $status"
		;;
	copy)
		# A running server's data, between the beginning and the end of a backup; what that names as useless is left out.
		cp -R "$arg/data" "$dir/data" >&2 && cd "$dir/data" &&
			rm -rf pg_wal/* pg_replslot/* postmaster.pid postmaster.opts && touch standby.signal
		echo "init $?"
		cd / || exit
		;;
	start)
		"$bin/postgres" -D "$dir/data" "$@" -p "$arg" >&2 3<&- &
		pg=$!
		# The watcher holds the pipe while postgres runs. Whatever comes, a line or the end, means stop.
		(
			read -r line
			kill -INT "$pg"
			for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1; done
			kill -QUIT "$pg"
			for i in 1 2 3 4 5; do sleep 1; done
			kill -KILL "$pg"
		) <&3 >/dev/null 2>&1 3<&- &
		watcher=$!
		echo "started $pg"
		wait "$pg"
		status=$?
		kill "$watcher" 2>/dev/null
		wait "$watcher" 2>/dev/null
		echo "ended $pg $status"
		;;
	esac
done

# A server that was killed leaves a shared memory segment, named in the last lines of its lock file.
if [ -f "$dir/data/postmaster.pid" ]; then
	segment=$(sed -n 7p "$dir/data/postmaster.pid")
	segment=${segment##* }
	[ -n "$segment" ] && ipcrm -m "$segment" >/dev/null 2>&1
fi
rm -rf -- "$dir" 2>/dev/null
