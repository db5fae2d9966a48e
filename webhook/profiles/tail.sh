# Print the log files that the arguments name, from their beginning and as they grow, until SIGTERM.
#
# An argument is a path, a glob, or DIR/**/NAME for files at any depth. Each file is opened once, read through that
# descriptor to its end, and known by its inode: renamed, it goes on; removed, it is still read. Only whole lines are
# printed, by one process at a time, so lines of several files never mix; what ends without a newline is printed once
# the file is finished. While standard output is slow, new files are still found and opened.
#
# Settings: PILLION_PREFIX=true (the file's name before each line), PILLION_POLL (seconds between two looks),
# PILLION_HELD_BYTES (of removed files that are kept for a slow standard output).
newline='
'
tab='	'
IFS=$newline
export LC_ALL=C
state=${PILLION_STATE:-/pillion/state}
poll=${PILLION_POLL:-0.5}
held_bytes=${PILLION_HELD_BYTES:-1073741824}
chunk=4194304        # bytes that are printed between two looks, and the longest line that is never cut
quiet_removed=60     # looks without growth after which a removed file is closed,
quiet_renamed=600    # and one that is at no name that the arguments mean
format='%d:%i %n// %s %h %a %f %u:%g %Y %y %x' # no name has two slashes, so it ends there, whatever is in it
applets='dd find id mv readlink sed stat tail wc'

open=                # the descriptors, oldest file first; of each, as variables that end in _DESCRIPTOR:
#  id path age       device and inode; the name it was found by; when it was last written then
#  at                how far it is printed
#  from to text      what is known of its content: text stands at from to to (newlines as |),
#  rest              and this, the end of it, is the beginning of a line
#  size links mtime  as last seen; again: it was rewritten since; since: the look at which it last changed
before=              # the checkpoint of a sidecar that ran here before
ignored=             # rotated files that were there before us, or are copies: device:inode@mtime
refused=             # id and name of files outside the volume
unfinished=          # the descriptor of the file whose line on standard output has no end yet
look=0               # looks so far

# complain TEXT: say it on standard error, once
complain() {
  case $said in *"$newline$1$newline"*) return ;; esac
  [ "${#said}" -lt 10000 ] || said=
  said=$said$newline$1$newline
  echo "pillion-tail: $1" >&2
}

# --- which files there are -------------------------------------------------------------------------------------------

# survey: print a record of each file that is open, and of each that a name could mean
survey() {
  # shellcheck disable=SC2086 # globs
  stat -L -c "$format" $descriptors $globs 2>/dev/null
  for pattern in $deep; do
    find "${pattern%%/'**'/*}" \( -type f -o -type l \) \
      \( -name "${pattern##*/}" -o -name "${pattern##*/}[._-]*" \) -exec stat -L -c "$format" {} + 2>/dev/null
  done
}

# meant PATH: is it what an argument means? Compressed files are meant by no glob
meant() {
  local pattern
  for pattern in $patterns; do
    [ "$1" = "$pattern" ] && return
    case $1 in *.gz | *.zst | *.xz | *.bz2 | *.zip) continue ;; esac
    # shellcheck disable=SC2254 # globs
    case ${1##*/} in ${pattern##*/}) ;; *) continue ;; esac
    case $pattern in
      */'**'/*) case $1 in "${pattern%%/'**'/*}"/*) return ;; esac ;;
      *) [ "${1%/*}" = "${pattern%/*}" ] && return ;;
    esac
  done
  return 1
}

# rotated PATH NAME: is PATH what a rotation makes of NAME? app.log.1 app.log-20260101 app.1.log app-2026-01-01.log
rotated() {
  [ "${1%/*}" = "${2%/*}" ] || return
  case $1 in
    *.gz* | *.zst* | *.xz* | *.bz2* | *.zip*) return 1 ;;
    "$2"[._-]* | "${2%.*}"[._-][0-9]*".${2##*.}") ;;
    *) return 1 ;;
  esac
}

# origin PATH: set $origin to the name from which a file that is new at PATH was renamed; false if it was not.
# A copy (copytruncate) leaves the file that it was made of at its name.
origin() {
  local known
  for known in $names; do
    origin=${known#* }
    rotated "$1" "$origin" || continue
    case $newline$now in *"$newline$known// "*) ;; *) return 0 ;; esac
  done
  return 1
}

# look: see what is new since the last look
look() {
  look=$((look + 1))
  now=$(survey)
  [ "$now" = "$seen" ] || sort_out
  seen=$now
}

# sort_out: bring what is known of the open files up to date, and open the new ones
sort_out() {
  local record='' line id path size links mode kind owner age mtime atime present='' skipped='' fresh='' known=''
  names=$before_names
  for line in $open; do
    eval "names=\$names\$newline\$id_$line\ \$path_$line known=\$known\$newline\$id_$line\$newline"
  done
  set -f
  for line in $now; do
    record=$record$line
    case $record in
      *'// '[0-9]*) ;;
      *) record=$record$newline && continue ;; # the name has a newline in it
    esac
    id=${record%% *}
    path=${record#* }
    path=${path%// *}
    IFS=' '
    # shellcheck disable=SC2086 # fields
    set -- ${record##*// }
    IFS=$newline
    record=
    size=$1 links=$2 mode=$3 kind=$4 owner=$5 mtime="$7 $8" atime="${10} ${11}"
    age=${8#*.}
    age=$(($6 * 1000000000 + 1$age - 1000000000))
    case $path in
      /proc/self/fd/*) update "${path##*/}" && continue ;;
    esac
    case $kind in 8???) ;; *) continue ;; esac # only regular files
    if meant "$path"; then
      present="$present$newline$id$newline"
      case $known in *"$newline$id$newline"*) continue ;; esac
      origin "$path" || origin=$path
    else
      case $known in *"$newline$id$newline"*) continue ;; esac
      case $newline$before in
        *"$newline$id "*) origin "$path" || origin=$path ;;
        *)
          skipped="$skipped$id@$mtime$newline"
          case $newline$ignored in *"$newline$id@$mtime$newline"*) continue ;; esac
          origin "$path" || continue
          ;;
      esac
    fi
    take "$path" "$origin" && known="$known$newline$id$newline"
  done
  set +f
  [ "$ignored" = "$skipped" ] || dirty=1
  ignored=$skipped
  leaving "$present"
}

# update DESCRIPTOR: note what the record says of an open file
update() {
  local at from to text was_size was_mtime
  eval "at=\$at_$1 from=\$from_$1 to=\$to_$1 text=\$text_$1 was_size=\$size_$1 was_mtime=\$mtime_$1"
  eval "links_$1=\$links"
  [ "$size $mtime" != "$was_size $was_mtime" ] || return 0
  grew=1
  eval "since_$1=\$look size_$1=\$size mtime_$1=\$mtime"
  if rewritten "$1"; then eval "again_$1=1"; fi
}

# rewritten DESCRIPTOR: was the file truncated and written again? It is if it is shorter, or has other content than
# before, or the same without growth, though not by `touch`, which sets both its times.
rewritten() {
  [ "$size" -ge "$at" ] || return 0
  [ "$to" -gt 0 ] || return 1
  excerpt "$1" "$from" "$to" || return 1
  [ "${excerpt//"$newline"/|}" = "$text" ] || return 0
  [ "$size" = "$to" ] && [ "$was_size" = "$to" ] && [ "$mtime" != "$was_mtime" ] && [ "$mtime" != "$atime" ]
}

# take PATH NAME: open a file that came up under NAME; uses the record's fields
take() {
  local fd=20 is other list='' line rest
  case $newline$refused in *"$newline$id $1$newline"*) return 1 ;; esac
  while case $newline$open$newline in *"$newline$fd$newline"*) ;; *) false ;; esac do
    fd=$((fd + 1))
  done
  if [ "$fd" -ge "$limit" ]; then
    complain "$limit files are open, the most that there can be: ${1//"$newline"/?} has to wait"
    return 1
  fi
  [ -f "$1" ] || return
  # if a pipe was put in its place in this moment, opening it would wait for a writer: then this wakes us up
  (read -r -t 1 _ <&4; kill -USR1 "$$") 2>/dev/null &
  if { eval "command exec $fd<\"\$1\""; } 2>/dev/null; then is=opened; else is=; fi
  { kill "$!"; wait "$!"; } 2>/dev/null
  if [ -z "$is" ]; then
    complain "can't read ${1//"$newline"/?}: owner $owner, mode $mode, we are $us; trying again when that changes"
    return 1
  fi
  is=$(stat -L -c '%d:%i %f' "/proc/self/fd/$fd" && readlink "/proc/self/fd/$fd")
  case $is in
    "$id "8???"$newline"*) ;;
    *) eval "exec $fd<&-" && return 1 ;; # another file came to its name: seen at the next look
  esac
  if ! inside "${is#*"$newline"}"; then
    eval "exec $fd<&-"
    complain "${1//"$newline"/?} leads out of the volume: not read"
    refused="$refused$id $1$newline"
    return 1
  fi
  eval "id_$fd=\$id path_$fd=\$2 age_$fd=\$age at_$fd=0 from_$fd=0 to_$fd=0 text_$fd= rest_$fd="
  eval "size_$fd=0 links_$fd=1 mtime_$fd= again_$fd= since_$fd=\$look"
  [ "$1" = "$2" ] || eval "age_$fd=\$((age - 10000000000))" # what was renamed is older than what has its name now
  # of several that are new under one name the oldest comes first
  for other in $open; do
    case $fresh in
      *"$newline$other$newline"*)
        eval "line=\$path_$other rest=\$((age_$other - age_$fd))"
        [ "$line" = "$2" ] && [ "$rest" -gt 0 ] && [ -n "${list##*"$newline$fd$newline"*}$is" ] && placed "$fd"
        ;;
    esac
    list="$list$other$newline"
  done
  dirty=1 more=1
}
