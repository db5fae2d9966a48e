# Print the log files that the arguments name, from their beginning and as they grow, until SIGTERM.
# An argument is a path, a glob, or DIR/**/NAME for files at any depth. A file is known by its inode,
# so that one that was renamed is not printed again.
state=/pillion/state
ending=
trap 'ending=1' TERM INT

# matching PATTERN: print the paths of the files that it means, one a line
matching() {
  case $1 in
    */'**'/*) find "${1%%/'**'/*}" -type f -name "${1##*/}" 2>/dev/null ;;
    *) IFS=; set -- $1; for path; do [ -f "$path" ] && echo "$path"; done; IFS=$newline ;;
  esac
}

# print FILE: print what is new in it since the last time
print() {
  set -- "$1" $(stat -c '%i
%s' "$1" 2>/dev/null)
  [ "$3" ] || return 0
  printed=0
  [ -f "$state/$2" ] && read -r printed <"$state/$2"
  [ "$3" -ge "$printed" ] || printed=0 # it was truncated: everything in it is new
  [ "$3" -gt "$printed" ] || return 0
  tail -c "+$((printed + 1))" "$1" | head -c "$(($3 - printed))" && echo "$3" >"$state/$2"
}

newline='
'
IFS=$newline
while :; do
  last=$ending # a signal from here on is answered with one more pass, which sees the end of every file
  for pattern; do
    case $pattern in
      *.gz | *.zst | *.xz | *.bz2 | *.zip) continue ;;
    esac
    for file in $(matching "$pattern"); do
      case $file in
        *.gz | *.zst | *.xz | *.bz2 | *.zip) ;;
        *) print "$file" ;;
      esac
    done
  done
  [ -z "$last" ] || exit 0
  [ "$ending" ] || { sleep 1 & wait "$!"; }
done
