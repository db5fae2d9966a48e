# Print the log files that the arguments name, from their beginning and as they grow, until SIGTERM.
#
# An argument is a path, a glob, or DIR/**/NAME for files at any depth. Each file is opened once and read through that
# descriptor to its end, and is known by its inode: renamed, it goes on; removed, it is still read. Only whole lines are
# printed, one file after the other, so lines of several files never mix; what ends without a newline is printed when
# the file is finished. While standard output is slow, files that come up are still found and opened.
#
# Settings: PILLION_PREFIX=true (the file's name before each line), PILLION_POLL (seconds between two looks),
# PILLION_HELD_BYTES (of removed files, kept for a slow standard output), PILLION_STATE (where the checkpoint lies).
# shellcheck shell=busybox disable=SC3045 # its ash has read -t
trap 'ending=1' TERM INT
trap : USR1
trap '' PIPE
newline='
'
IFS=$newline
export LC_ALL=C
state=${PILLION_STATE:-/pillion/state}
poll=${PILLION_POLL:-0.5}
held_bytes=${PILLION_HELD_BYTES:-1073741824}
prefix=$PILLION_PREFIX
removed_pauses=120   # without growth for as many pauses, a removed file is closed,
renamed_pauses=1200  # and one that the arguments don't mean any more
chunk=4194304        # bytes printed between two looks; a longer line may be cut
format='%d:%i %n// %s %h %a %f %u:%g %Y %y %x' # no name has two slashes, so there it ends, whatever is in it

# Lists have one item a line.
open=        # descriptors, oldest file first; each has variables that end in its number:
#              id path age: device and inode, the name it came up under, and when it was last written then
#              at: how far it is printed
#              from to text: its content there, by which it is known again; newlines are |
#              rest: its last line, as long as that has no end
#              size links mtime: as last seen; since: the pause of its last change; again: it was written anew
gone=        # those that were removed, or renamed to what the arguments don't mean
before=      # what a sidecar that ran here before left: as `open`
names=       # id and name of every file in `open` and `before`
ignored=     # rotated files that are not ours to print: id@mtime, and id and path
unseen=      # is it known what was there before us?
seen=none    # what the last look showed
refused=     # files outside the volume: id and name
unfinished=  # the descriptor of the file whose line on standard output has no end yet
pauses=0
printed=0

# among ITEM LIST
among() {
  case $newline$2 in *"$newline$1$newline"*) ;; *) return 1 ;; esac
}

# complain TEXT: say it on standard error, once
complain() {
  if ! among "$1" "$said"; then
    [ "${#said}" -lt 10000 ] || said=
    said=$said$1$newline
    echo "pillion-tail: $1" >&2
  fi
}

# --- which files there are -------------------------------------------------------------------------------------------

# look: see what is new since the last time
look() {
  now=$(survey)
  case $now in "$seen") return ;; *.) ;; *) return ;; esac
  seen=$now
  set -f
  sort_out
  set +f
}

# survey: print a record of each open file, then of each file that an argument or its rotation could mean, then a dot
survey() {
  local pattern name
  # shellcheck disable=SC2086 # globs
  stat -L -c "$format" $descriptors $globs 2>/dev/null || [ "$?" = 1 ] || return # 1: some files are not there
  set -f
  for pattern in $deep; do
    name=${pattern##*/}
    find "${pattern%%/'**'/*}" '(' -type f -o -type l ')' \
      '(' -name "$name" -o -name "${name}[._-]*" -o -name "${name%.*}[._-][0-9]*.${name##*.}" ')' \
      -exec stat -L -c "$format" '{}' + 2>/dev/null || [ "$?" = 1 ] || return
  done
  echo .
}

# sort_out: bring what is known of the open files up to date, and open the new ones
sort_out() {
  local record='' line id path name size links mode kind owner age mtime atime
  local ours='' wanted='' others='' fresh=''
  for line in $open; do
    eval "id=\$id_$line path=\$path_$line"
    names=$names$id\ $path$newline
    ours=$ours$id$newline
  done
  for line in $now; do
    record=$record$line
    case $record in
      *'// '[0-9]*) ;;
      *) record=$record$newline && continue ;; # a newline in the name
    esac
    id=${record%% *}
    path=${record#* }
    path=${path%// *}
    IFS=' '
    # shellcheck disable=SC2086 # its fields
    set -- ${record##*// }
    IFS=$newline
    record=
    size=$1 links=$2 mode=$3 kind=$4 owner=$5 mtime="$7 $8" atime="${10} ${11}"
    age=${8#*.}
    age=$(($6 * 1000000000 + 1$age - 1000000000))
    case $path in /proc/self/fd/*) update "${path##*/}" && continue ;; esac
    case $kind in 8???) ;; *) continue ;; esac # no regular file
    if meant "$path"; then
      wanted=$wanted$id$newline
      among "$id" "$ours" && continue
      renamed "$path" || name=$path
    else
      among "$id" "$ours" && continue
      others=$others$id@$mtime$newline$id\ $path$newline
      if among "$id@$mtime" "$ignored" || among "$id $path" "$ignored"; then continue; fi
      renamed "$path" "$unseen" || continue
    fi
    take "$path" "$name" && ours=$ours$id$newline
  done
  before='' names='' unseen=1
  [ "$ignored" = "$others" ] || ignored=$others dirty=1
  note_gone "$wanted"
}

# meant PATH: is it what an argument means? A glob means no compressed files
meant() {
  local pattern
  for pattern in $patterns; do
    [ "$1" != "$pattern" ] || return 0
    case $1 in *.gz | *.zst | *.xz | *.bz2 | *.zip) continue ;; esac
    # shellcheck disable=SC2254 # a glob
    case ${1##*/} in ${pattern##*/}) ;; *) continue ;; esac
    case $pattern in
      */'**'/*) case $1 in "${pattern%%/'**'/*}"/*) return 0 ;; esac ;;
      *) [ "${1%/*}" != "${pattern%/*}" ] || return 0 ;;
    esac
  done
  return 1
}

# renamed PATH [unseen]: set $name to the one from which PATH was rotated, if it was: app.log.1, app.log-2026-01-01 and
# app-1.log come from app.log if what was there is not there any more. If it is, PATH is a copy of it (copytruncate).
# With `unseen`, also if nothing was ever seen there.
renamed() {
  local shorter=$1 ending=".${1##*.}" names_of='' known
  case $1 in *.gz* | *.zst* | *.xz* | *.bz2* | *.zip*) return 1 ;; esac
  while case ${shorter##*/} in *[._-]*) ;; *) false ;; esac do
    shorter=${shorter%[._-]*}
    names_of=$names_of$shorter$newline
    case $1 in "$shorter"[._-][0-9]*"$ending") names_of=$names_of$shorter$ending$newline ;; esac
  done
  for name in $names_of; do
    for known in $names; do
      [ "${known#* }" = "$name" ] || continue
      case $newline$now in *"$newline$known// "*) return 1 ;; *) return 0 ;; esac
    done
  done
  [ "$2" ] || return 1
  for name in $names_of; do meant "$name" && return 0; done
  return 1
}

# update DESCRIPTOR: take over what the record says of an open file
update() {
  local at from to text was_size was_mtime
  eval "at=\$at_$1 from=\$from_$1 to=\$to_$1 text=\$text_$1 was_size=\$size_$1 was_mtime=\$mtime_$1 links_$1=\$links"
  if [ "$size $mtime" != "$was_size $was_mtime" ]; then
    eval "size_$1=\$size mtime_$1=\$mtime since_$1=\$pauses"
    grew=1
    if rewritten "$1"; then eval "again_$1=1"; fi
  fi
}

# rewritten DESCRIPTOR: was it truncated and written anew? It was if it is shorter, or its content is another, or the
# same without growth, unless that was `touch`, which sets both its times.
rewritten() {
  local excerpt
  [ "$size" -ge "$at" ] || return 0
  [ "$to" -gt 0 ] && excerpt "$1" "$from" "$to" || return 1
  [ "$excerpt" = "$text" ] || return 0
  [ "$size" = "$to" ] && [ "$was_size" = "$to" ] && [ "$mtime" != "$was_mtime" ] && [ "$mtime" != "$atime" ]
}

# note_gone WANTED: see which of the open files are not wanted any more; too much of the removed ones is dropped
note_gone() {
  local fd id path at size links sum=0 dropping
  gone=
  for fd in $open; do
    eval "id=\$id_$fd size=\$size_$fd links=\$links_$fd"
    among "$id" "$1" && continue
    gone=$gone$fd$newline
    [ "$links" != 0 ] || sum=$((sum + size))
  done
  for dropping in printed unprinted; do
    for fd in $gone; do
      [ "$sum" -gt "$held_bytes" ] || return 0
      eval "path=\$path_$fd at=\$at_$fd size=\$size_$fd links=\$links_$fd"
      if [ "$links" != 0 ] || [ "$fd" = "$printing" ] || [ $dropping = printed ] && [ "$at" -lt "$size" ]; then continue; fi
      [ "$at" = "$size" ] ||
        complain "standard output is slow: dropped the last $((size - at)) bytes of ${path//"$newline"/?}, which was removed"
      close "$fd"
      sum=$((sum - size))
    done
  done
}

# --- opening and closing ---------------------------------------------------------------------------------------------

# take PATH NAME: open a new file, which came up under NAME; what its record says is set
take() {
  local fd=20
  among "$id $1" "$refused" && return 1
  while among "$fd" "$open"; do fd=$((fd + 1)); done
  if [ "$fd" -ge "$limit" ]; then
    complain "${1//"$newline"/?} has to wait: more files can't be open at once"
    return 1
  fi
  open_file "$1" || return 1
  [ "$1" = "$2" ] || age=$((age - 10000000000)) # what was renamed is older than what has its name now
  eval "id_$fd=\$id path_$fd=\$2 age_$fd=\$age at_$fd=0 from_$fd=0 to_$fd=0 text_$fd= rest_$fd="
  eval "size_$fd=0 links_$fd=1 mtime_$fd= since_$fd=\$pauses again_$fd="
  restore
  line_up "$2"
  fresh=$fresh$fd$newline
  dirty=1 more=1
}

# open_file PATH: open it as $fd, if it is a regular file inside the volume
open_file() {
  local is=''
  [ -f "$1" ] || return 1
  # had a pipe been put in its place right now, opening it would wait for a writer: this ends the wait
  (read -r -t 1 _ <&4; kill -USR1 "$$") 2>/dev/null &
  { eval "command exec $fd<\"\$1\"" && is=open; } 2>/dev/null
  { kill -9 "$!"; wait "$!"; } 2>/dev/null
  if [ -z "$is" ]; then
    complain "can't read ${1//"$newline"/?}: its owner is $owner and its mode $mode, we are $us; trying again"
    return 1
  fi
  is=$(stat -L -c '%d:%i %f' "/proc/self/fd/$fd" && readlink "/proc/self/fd/$fd")
  case $is in
    "$id "8???"$newline"*) inside "${is#*"$newline"}" && return 0 ;;
    *) is='' seen='' ;; # another one has come to its name: look again
  esac
  eval "exec $fd<&-"
  if [ "$is" ]; then
    complain "${1//"$newline"/?} leads out of the volume: not read"
    refused=$refused$id\ $1$newline
  fi
  return 1
}

# inside PATH: does it lie in a volume that an argument names?
inside() {
  local root
  for root in $roots; do
    case $1 in "${root%/}"/*) return 0 ;; esac
  done
  return 1
}

# root PATTERN: print the mount point of the volume that it means files in, or, outside of one, its folder
root() {
  local place='' rest=$1/ point points=''
  while IFS=' ' read -r _ _ _ _ point _; do
    case $point in *\\*) point=$(printf '%b' "$point") ;; esac
    points=$points$point$newline
  done </proc/self/mountinfo
  # from above, since what lies in the volume is up to the app, symlinks too
  while rest=${rest#*/} && [ "$rest" ]; do
    point=$(cd -P "$place/" 2>/dev/null && pwd -P)
    place=$place/${rest%%/*}
    if among "${point%/}/${place##*/}" "$points"; then
      echo "${point%/}/${place##*/}"
      return
    fi
  done
  place=${1%/*}
  echo "${place%%/'**'*}"
}

# line_up NAME: put $fd into `open`: of several that came at once under one name the oldest is first, others are last
line_up() {
  local other all=$open path age_of
  open=
  for other in $all; do
    eval "path=\$path_$other age_of=\$age_$other"
    if among "$other" "$fresh" && [ "$path" = "$1" ] && [ "$age_of" -gt "$age" ] && ! among "$fd" "$open"; then
      open=$open$fd$newline
    fi
    open=$open$other$newline
  done
  among "$fd" "$open" || open=$open$fd$newline
  name_descriptors
}

# name_descriptors: what they are called for other programs
name_descriptors() {
  local fd
  descriptors=
  for fd in $open; do descriptors=$descriptors/proc/self/fd/$fd$newline; done
}

# close DESCRIPTOR
close() {
  local fd all=$open name
  eval "exec $1<&-"
  for name in id path age at from to text rest size links mtime since again; do unset "${name}_$1"; done
  open=
  for fd in $all; do [ "$fd" = "$1" ] || open=$open$fd$newline; done
  name_descriptors
  [ "$unfinished" != "$1" ] || unfinished=closed
  dirty=1
}

# --- reading ---------------------------------------------------------------------------------------------------------

# piece FROM COUNT: copy these bytes of standard input
piece() {
  dd bs=64k iflag=skip_bytes,count_bytes skip="$1" count="$2" status=none
}

# excerpt DESCRIPTOR FROM TO: set $excerpt to what is there, without NUL bytes
excerpt() {
  excerpt=$({ piece "$2" $(($3 - $2)) <"/proc/self/fd/$1" && echo x; } 2>/dev/null) || return 1
  excerpt=${excerpt%x}
}

# open_line DESCRIPTOR FROM TO: set $count to the number of bytes after the last newline in there
open_line() {
  local from=$(($3 - 65536))
  [ "$from" -gt "$2" ] || from=$2
  count=$(piece "$from" $(($3 - from)) <"/proc/self/fd/$1" | tail -n 1 | wc -c)
  [ "$count" -lt $(($3 - from)) ] || [ "$from" = "$2" ] || # a very long line
    count=$(piece "$2" $(($3 - $2)) <"/proc/self/fd/$1" | tail -n 1 | wc -c)
}

# seek DESCRIPTOR POSITION: go on reading there
seek() {
  { eval "command exec $1</proc/self/fd/$1"; } 2>/dev/null && eval "piece $2 0 <&$1"
}

# --- printing --------------------------------------------------------------------------------------------------------

# print DESCRIPTOR [all]: print the lines that came, at most $chunk bytes; with `all` also what has no end.
# Sets $left if there is more.
print() {
  local at from to text rest size mtime was_mtime again end count=0 excerpt
  eval "at=\$at_$1 from=\$from_$1 to=\$to_$1 text=\$text_$1 rest=\$rest_$1"
  eval "size=\$size_$1 mtime=\$mtime_$1 again=\$again_$1"
  left=
  if [ "$again" ]; then
    [ -z "$rest" ] || out "$1" label "$1" printf '%s\n' "$rest" || return 1
    unfinished=
    seek "$1" 0 || return 1
    at=0 from=0 to=0 text='' rest=''
    remember "$1"
    eval "again_$1="
  fi
  end=$size
  if [ $((end - at)) -gt "$chunk" ]; then end=$((at + chunk)) left=1; fi
  if [ "$end" -le "$at" ] || [ -z "$2" ] && [ "$end" -le "$to" ]; then return 0; fi
  from=$((end > 256 ? end - 256 : 0)) to=$end
  excerpt "$1" "$from" "$to" || excerpt=$newline
  case $excerpt in
    *"$newline") ;;
    *) [ "$2" ] || open_line "$1" "$at" "$end" ;;
  esac
  [ "$count" != $((end - at)) ] || [ -z "$left" ] || count=0 # longer than a chunk
  end=$((end - count))
  if [ "$end" -gt "$at" ]; then
    if ! out "$1" label "$1" piece 0 $((end - at)); then
      complain 'standard output is closed'
      seek "$1" "$at"
      left=
      return 1
    fi
    printed=$((printed + end - at)) dirty=1
    read -r at <"/proc/self/fdinfo/$1" && at=${at##*[!0-9]}
    text=$excerpt
    eval "was_mtime=\$mtime_$1"
    if [ "$was_mtime" != "$mtime" ] && excerpt "$1" "$from" "$to" && [ "$excerpt" != "$text" ]; then
      eval "again_$1=1" # truncated meanwhile
    fi
    excerpt=$text
    case $count$excerpt in 0*[!"$newline"]) unfinished=$1 ;; *) unfinished= ;; esac
  fi
  rest=
  if [ "$count" -gt 0 ]; then
    from=$((end > 256 ? end - 256 : 0)) to=$end
    [ "$left" ] || [ "$count" -gt 65536 ] || to=$((end + count))
    excerpt "$1" "$from" "$to" || excerpt=
    [ "$to" = "$end" ] || rest=${excerpt##*"$newline"}
  fi
  text=$excerpt
  remember "$1"
}

# remember DESCRIPTOR: keep what `print` or `restore` found out
remember() {
  eval "at_$1=\$at from_$1=\$from to_$1=\$to text_$1=\$text rest_$1=\$rest"
}

# out DESCRIPTOR COMMAND...: run it, which reads the descriptor and writes to standard output; look around meanwhile
out() {
  local child status='' other
  printing=$1
  shift
  (
    trap '' TERM
    eval "exec <&$printing"
    for other in $open; do eval "exec $other<&-"; done # what is closed meanwhile takes no space on the disk
    case $unfinished in '' | "$printing") ;; *) echo ;; esac && "$@" && status=y
    printf '%s' "${status:-n}" >&3
  ) 2>/dev/null &
  child=$!
  until read -r -n 1 -t "$poll" status <&3; do
    if [ ! -d "/proc/$child" ]; then # killed?
      read -r -n 1 -t 0.1 status <&3
      break
    fi
    pauses=$((pauses + 1))
    look
  done
  wait "$child"
  printing=
  [ "$status" = y ]
}

# shellcheck disable=SC2329 # an argument of out
# label DESCRIPTOR COMMAND...: run it, and put the file's name before each line, if that is wished
label() {
  local path first=''
  eval "path=\$path_$1"
  [ "$unfinished" != "$1" ] || first='1!'
  shift
  if [ "$prefix" = true ]; then
    path=$(printf '%s' "${path//"$newline"/?}" | sed 's/[\\|&]/\\&/g')
    "$@" | sed "${first}s|^|$path: |"
  else
    "$@"
  fi
}

# finish DESCRIPTOR: print all that is known of it
finish() {
  while print "$1" all && [ "$left" ]; do :; done
}

# print_all: print what came to each file. A file waits for the end of the one that had its name before.
print_all() {
  local fd other path path_of at size size_now rest busy='' open_ended=''
  for fd in $open; do
    eval "path=\$path_$fd at=\$at_$fd size=\$size_$fd"
    if [ -z "$path" ] || among "$path" "$busy"; then continue; fi
    if [ "$size" -gt "$at" ]; then
      for other in $open_ended; do
        eval "path_of=\$path_$other"
        [ "$path_of" != "$path" ] || finish "$other"
      done
    fi
    print "$fd" || return 1
    eval "size_now=\$size_$fd rest=\$rest_$fd"
    [ -z "$rest" ] || open_ended=$open_ended$fd$newline
    if [ "$left" ] || [ "$size_now" != "$size" ]; then busy=$busy$path$newline more=1; fi
    if [ "$printed" -ge "$chunk" ]; then
      printed=0
      save
      look
    fi
  done
}

# close_gone: close files that won't grow any more
close_gone() {
  local fd id links since patience
  for fd in $gone; do
    eval "id=\$id_$fd links=\$links_$fd since=\$since_$fd"
    patience=$renamed_pauses
    [ "$links" != 0 ] || patience=$removed_pauses
    if [ "$id" ] && [ $((pauses - since)) -ge "$patience" ]; then
      finish "$fd"
      close "$fd"
    fi
  done
}

# --- the checkpoint --------------------------------------------------------------------------------------------------

# save: write down how far each file is printed, after it was
save() {
  local fd id path at from to text all=''
  [ "$dirty" ] || return 0
  for fd in $open; do
    eval "id=\$id_$fd path=\$path_$fd at=\$at_$fd from=\$from_$fd to=\$to_$fd text=\$text_$fd"
    all="$all$id $at $from $to ${path//"$newline"/?}// ${text//"$newline"/|}$newline"
  done
  for id in $ignored; do all="$all- $id$newline"; done
  if { printf '%s' "$all" >"$state/new" && mv -f "$state/new" "$state/files"; } 2>/dev/null; then
    dirty=
  else
    complain "can't write the checkpoint in $state: after a restart lines will be printed again"
  fi
}

# load: read what a sidecar before us wrote down
load() {
  local line
  [ -f "$state/files" ] || return 0
  unseen=1
  while IFS='' read -r line; do
    case $line in
      '- '*) ignored=$ignored${line#* }$newline ;;
      [0-9]*:[0-9]*' '[0-9]*'// '*)
        before=$before$line$newline
        line=${line%%// *}
        names="$names${line%% *} ${line#* * * * }$newline"
        ;;
    esac
  done <"$state/files"
}

# restore: go on with $fd where the sidecar before us stopped, if it is the same file
restore() {
  local line at from to text rest='' excerpt
  for line in $before; do
    [ "${line%% *}" = "$id" ] || continue
    IFS=' '
    # shellcheck disable=SC2086 # its fields
    set -- $line
    IFS=$newline
    at=$2 from=$3 to=$4 text=${line#*// }
    case $at$from$to in *[!0-9]*) return ;; esac
    if [ "$size" -ge "$at" ] && excerpt "$fd" "$from" "$to" && [ "${excerpt//"$newline"/|}" = "$text" ]; then
      seek "$fd" "$at" || return
      [ "$to" -le "$at" ] || rest=${excerpt##*"$newline"}
      text=$excerpt
      remember "$fd"
    fi
    return
  done
}

# --- main ------------------------------------------------------------------------------------------------------------

# two pipes: on 3 a child says that it is done; on 4 nobody ever writes, so that reading it is a pause
exec 3<<EMPTY 4<<EMPTY
EMPTY
EMPTY
exec 3<>/proc/self/fd/3 4<>/proc/self/fd/4
set -o pipefail

# pause SECONDS: wait, or until SIGTERM
pause() {
  read -r -t "$1" _ <&4
  pauses=$((pauses + 1))
}

for applet in dd find id mv readlink sed stat tail wc; do command -v "$applet" >/dev/null || missing="$missing $applet"; done
if [ "$missing" ]; then
  complain "nothing is printed, because this image lacks:$missing"
  until [ "$ending" ]; do pause "$poll"; done
  exit 0
fi
us=$(id -u):$(id -g)
limit=$(ulimit -n)
case $limit in *[!0-9]*) limit=65536 ;; *) limit=$((limit - 10)) ;; esac # the shell needs some for itself
patterns=$*
for pattern; do
  roots=$roots$(root "$pattern")$newline
  case $pattern in
    */'**'/*) deep=$deep$pattern$newline ;;
    *) globs="$globs$pattern$newline${pattern}[._-]*$newline${pattern%.*}[._-][0-9]*.${pattern##*.}$newline" ;;
  esac
done

load
while :; do
  grew='' more=''
  look
  print_all
  close_gone
  save
  if [ "$more" ]; then
    calm=0
  elif [ -z "$ending" ]; then
    pause "$poll"
  else
    # a second without growth is the end
    [ -z "$grew" ] || calm=0
    calm=$((calm + 1))
    [ "$calm" -le 4 ] || break
    pause 0.25
  fi
done
for fd in $open; do finish "$fd"; done
save
exit 0
