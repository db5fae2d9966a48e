# Print log files until SIGTERM. Source: Pillion's webhook/profiles/tail.sh, docs/log-pipeline.md
#
# What a pod carries is the first line and what is no comment: its size counts in each pod of a cluster.
#
# An argument is a path, a glob, or DIR/**/NAME for files at any depth. Each file is opened once and read through that
# descriptor to its end, and is known by its inode: renamed, it goes on; removed, it is still read. Only whole lines are
# printed, one file after the other, so lines of several files never mix; what ends without a newline is printed when
# the file is finished. While standard output is slow, files that come up are still found and opened.
#
# Settings: PILLION_PREFIX=true (the file's name before each line), PILLION_POLL (seconds between two looks),
# PILLION_PATIENCE (seconds without growth after which a removed file is closed),
# PILLION_HELD_BYTES (of removed files, kept for a slow standard output), PILLION_STATE (where the checkpoint lies),
# PILLION_NATIVE=true (at SIGTERM the containers that write have ended).
# shellcheck shell=busybox disable=SC3045,SC2030,SC2031 # its ash has read -t; what a subshell sets is meant to end there
trap 'ending=1' TERM
trap '' PIPE
export LC_ALL=C
nl='
'
IFS=$nl
set -f
state=${PILLION_STATE:-/pillion/state}
poll=${PILLION_POLL:-0.5}
# bytes printed between two looks; a longer line may be cut
chunk=4194304
looks=1000000000
calm=0
seen=none

# Lists have one item a line.
# open        descriptors, oldest file first; each has variables that end in its number:
#               id path age: device and inode, the name it came up under, what it is sorted by
#               at: how far it is printed
#               to text: its content from 256 bytes before `at` up to `to`, by which it is known again; what lies
#               behind `at` in it is a line that has no end yet
#               size links mtime: as last seen; since: when it last changed
#               again: it was written anew; gone: it was removed, or renamed to what the arguments don't mean
# before      the checkpoint of a sidecar that ran here before us
# settled     is it known what was there before us?
# ignored     rotated files that are not ours to print: id@mtime
# seen        what the last look showed
# unfinished  the descriptor of the file whose line on standard output has no end yet

# among ITEM LIST
among() {
  case $nl$2 in *"$nl$1$nl"*) ;; *) return 1 ;; esac
}

# get DESCRIPTOR NAME...: set each variable to what it is for this file
get() {
  local number=$1 variable
  shift
  for variable; do eval "$variable=\$${variable}_$number"; done
}

# put DESCRIPTOR NAME...: keep each variable for this file
put() {
  local number=$1 variable
  shift
  for variable; do eval "${variable}_$number=\$$variable"; done
}

# complain TEXT: say it on standard error, once
complain() {
  local text=${1//"$nl"/?}
  among "$text" "$said" && return
  [ "${#said}" -lt 10000 ] || said=
  said=$said$text$nl
  echo "pillion-tail: $text" >&2
}

# --- which files there are -------------------------------------------------------------------------------------------

# add KIND FILE...: add those that are regular files to `items` and `list`; w: an argument means them, o: others
add() {
  local kind=$1 file
  shift
  for file; do
    [ -f "$file" ] || continue
    case $file in *.gz | *.zst | *.xz | *.bz2 | *.zip) among "$file" "$patterns" || continue ;; esac
    number=$((number + 1))
    eval "file_$number=\$file"
    items=$items$kind$number$nl
    list="$list \"\$file_$number\""
  done
}

# search FOLDER NAME: add the files in it that NAME or its rotation could mean; if it ends in /** in its folders, too
search() {
  local folder=${1%/'**'} name=$2
  set +f
  # shellcheck disable=SC2086 # globs
  add w "$folder"/$name
  # shellcheck disable=SC2086
  add o "$folder"/${name}[._-]* "$folder"/${name%.*}[._-][0-9]*.${name##*.}
  # shellcheck disable=SC2015 # set does not fail
  [ "$folder" != "$1" ] && set -- "$folder"/*/ || set --
  set -f
  for folder; do
    [ ! -d "$folder" ] || [ -L "${folder%/}" ] || search "$folder**" "$name"
  done
}

# look: see what is new since the last time, and open new files
look() {
  # not those of whoever looks around while something is printed
  local fd id path at size since again gone
  now='' number=0 reversed='' list='' ours='' wanted='' others='' fresh='' sum=0
  # sizes of newer files are taken before those of older ones: so a line in the newer one is never printed before
  # one that was written to the older one before
  for fd in $open; do
    reversed=$fd$nl$reversed
    list=" /proc/self/fd/$fd$list"
  done
  items=$reversed
  for pattern in $patterns; do search "${pattern%/*}" "${pattern##*/}"; done
  # it fails if a file has just gone: then records and items don't fit
  [ -z "$list" ] || eval "now=\$(stat -L -c '%d:%i %h %s %x %y' $list 2>/dev/null)" || return
  IFS=. read -r seconds _ </proc/uptime
  [ "$now" != "$seen" ] || return 0
  seen=$now
  looks=$((looks + 1))
  for record in $now; do
    item=${items%%"$nl"*}
    items=${items#*"$nl"}
    IFS=' '
    # shellcheck disable=SC2086 # its fields
    set -- $record
    IFS=$nl
    id=$1 links=$2 size=$3 atime="$4 $5" mtime="$7 $8"
    case $item in
      w*) wanted=$wanted$id$nl ;;
      o*) ;;
      *)
        ours=$ours$id$nl
        update "$item"
        continue
        ;;
    esac
    among "$id" "$ours" && continue
    eval "file=\$file_${item#?}"
    origin
    case $item in o*) is_foreign && others=$others$id@$mtime$nl && continue ;; esac
    take && ours=$ours$id$nl
  done
  [ "$ignored" = "$others" ] || ignored=$others dirty=1
  before=$nl settled=1
  if [ "$fresh" ] && now=$(for fd in $open; do eval "echo \"\$age_$fd $fd\""; done | sort | sed 's/.* //'); then
    open=$now$nl
  fi
  # which of the open files are not wanted any more? Of those that were removed the newest are kept
  for fd in $reversed; do
    get "$fd" id path at size links
    gone=
    among "$id" "$wanted" || gone=1
    put "$fd" gone
    [ "$gone$links" = 10 ] && [ "$fd" != "$printing" ] || continue
    sum=$((sum + size))
    [ "$sum" -gt "${PILLION_HELD_BYTES:-1073741824}" ] || continue
    [ "$at" = "$size" ] ||
      complain "slow output: dropped $((size - at)) bytes of removed $path"
    close "$fd"
  done
}

# origin: set $name to what the file was rotated from, and $copied if that is still there. app.log.1, app.log-2026-01-01
# and app-1.log come from app.log
origin() {
  local fd path
  name=$file copied=
  for fd in $open; do
    get "$fd" path
    case $file in
      "$path"[._-]* | "${path%.*}"[._-][0-9]*".${path##*.}") among "$fd" "$fresh" && continue ;;
      *) continue ;;
    esac
    name=$path
    if [ "$path" -ef "/proc/self/fd/$fd" ]; then
      name=$file copied=1
      return
    fi
  done
}

# is_foreign: is a rotated file not ours to print? It was there before us, or is a copy (copytruncate)
is_foreign() {
  [ "${before##*"$nl$id "*}" ] || return
  [ -z "$settled" ] || [ "$copied" ] || among "$id@$mtime" "$ignored"
}

# update DESCRIPTOR: take over what the record says of an open file
update() {
  local at to text was excerpt
  put "$1" links
  get "$1" at to text
  eval "was=\"\$size_$1 \$mtime_$1\""
  [ "$1" != "$printing" ] && [ "$size $mtime" != "$was" ] || return
  since=$seconds grew=1
  put "$1" size mtime since
  # It was truncated and written anew if it is shorter, or its content is another, or the same without growth, unless
  # that was `touch`, which sets both its times.
  if [ "$size" -ge "$at" ]; then
    [ "$to" -gt 0 ] && excerpt "$1" "$at" "$to" || return
    if [ "$excerpt" = "$text" ]; then
      [ "$size ${was%% *}" = "$to $to" ] && [ "$mtime" != "$atime" ] || return
      # in the middle of a write the time is new already, and the size is not: a second look decides
      if [ "$was" != "$size ?$mtime" ]; then
        mtime="?$mtime" seen=
        put "$1" mtime
        return
      fi
    fi
  fi
  eval "again_$1=1"
}

# --- opening and closing ---------------------------------------------------------------------------------------------

# take: open a new file, if it is a regular one inside a volume
take() {
  local fd=20 is root
  while among "$fd" "$open"; do fd=$((fd + 1)); done
  if [ "$fd" -ge "$limit" ]; then
    complain "too many files for $file"
  elif ! { eval "command exec $fd<\"\$file\""; } 2>/dev/null; then
    [ ! -e "$file" ] ||
      complain "can't read $file: $(stat -L -c 'owner %u:%g, mode %a' "$file"), we are $(id -u):$(id -g)"
  else
    is=$(stat -L -c '%d:%i %f' "/proc/self/fd/$fd" && readlink "/proc/self/fd/$fd")
    for root in $roots; do
      case $is/ in
        "$id 8"???"$nl$root"/*)
          begin "$fd"
          return
          ;;
      esac
    done
    eval "exec $fd<&-"
    case $is in "$id "*"$nl"*) complain "$file leads out of the volume" && return 1 ;; esac
  fi
  # look again, even if nothing changes
  seen=
  return 1
}

# begin DESCRIPTOR: read a new file, from where the sidecar before us stopped, if it is one of its files
begin() {
  local at=0 to=0 text='' excerpt line=${before##*"$nl$id "} age=$item
  # what was rotated is older than what has its name now
  [ "$name" = "$file" ] || age=o
  age="$looks ${age%%[0-9]*} $mtime"
  if [ "$line" != "$before" ]; then
    line=${line%%"$nl"*}
    at=${line%% *} line=${line#* }
    to=${line%% *} line=${line#* }
    if { [ "$at" -le "$size" ] && [ "$to" -ge "$at" ]; } 2>/dev/null &&
      excerpt "$1" "$at" "$to" && [ "${excerpt//"$nl"/|}" = "${line#*// }" ] && seek "$1" "$at"; then
      text=$excerpt name=${line%%// *}
    else
      at=0 to=0
    fi
  fi
  path=$name size=0 mtime='' since=$seconds again='' gone=''
  put "$1" id path age at to text size mtime links since again gone
  open=$open$1$nl fresh=$fresh$1$nl more=1
}

# close DESCRIPTOR
close() {
  local fd all=$open path='' id mtime
  get "$1" id mtime
  # should it still be there it is not new
  ignored=$ignored$id@$mtime$nl
  eval "exec $1<&-"
  put "$1" path
  open=
  for fd in $all; do [ "$fd" = "$1" ] || open=$open$fd$nl; done
  [ "$unfinished" != "$1" ] || unfinished=closed
  dirty=1
}

# volume PATTERN: note the mount point of the volume that it means files in, or, outside of one, its folder. It is
# searched from above, since what lies in the volume is up to the app, symlinks too
volume() {
  local place='' rest=${1#/}/
  while [ "$rest" ]; do
    place=${place%/}/${rest%%/*} rest=${rest#*/}
    if among "$place" "$points"; then
      roots=$roots$place$nl
      return
    fi
    place=$(readlink -f "$place") || break
  done
  place=${1%/*}
  roots=$roots${place%/'**'}$nl
}

# --- reading ---------------------------------------------------------------------------------------------------------

# piece FROM COUNT: copy these bytes of standard input
piece() {
  dd bs=64k iflag=skip_bytes,count_bytes skip="$1" count="$2" status=none
}

# excerpt DESCRIPTOR AT TO: set $excerpt to what is there, from 256 bytes before AT, without NUL bytes
excerpt() {
  local from=$(($2 > 256 ? $2 - 256 : 0))
  excerpt=$({ piece $from $(($3 - from)) <"/proc/self/fd/$1" && echo x; } 2>/dev/null) || return
  excerpt=${excerpt%x}
}

# open_line DESCRIPTOR FROM TO: set $count to the number of bytes after the last newline in there
open_line() {
  local from
  for from in $(($3 - 65536)) "$2"; do
    [ "$from" -gt "$2" ] || from=$2
    count=$(piece "$from" $(($3 - from)) <"/proc/self/fd/$1" | tail -n 1 | wc -c)
    [ "$count" = $(($3 - from)) ] || break
  done
}

# seek DESCRIPTOR POSITION: go on reading there
seek() {
  { eval "command exec $1</proc/self/fd/$1"; } 2>/dev/null && eval "piece $2 0 <&$1"
}

# --- printing --------------------------------------------------------------------------------------------------------

# print DESCRIPTOR [all]: print the lines that came; with `all` also what has no end
print() {
  local path at to text size again end stop count excerpt
  get "$1" path at to text size again
  [ "$path" ] || return 0
  if [ "$again" ]; then
    [ "$to" -le "$at" ] || out "$1" printf '%s\n' "${text##*"$nl"}" || return
    seek "$1" 0 || return
    at=0 to=0 text='' again='' unfinished=
    put "$1" at to text again
  fi
  [ "$size" -gt "$to" ] || [ "$2" ] && [ "$size" -gt "$at" ] || return 0
  while end=$size count=0; do
    [ $((size - at)) -le "$chunk" ] || end=$((at + chunk))
    excerpt "$1" "$end" "$end" || excerpt=$nl
    case $excerpt in
      *"$nl") ;;
      *) [ "$2" ] && [ "$end" = "$size" ] || open_line "$1" "$at" "$end" ;;
    esac
    # longer than a chunk
    [ "$count" -lt $((end - at)) ] || [ "$end" = "$size" ] || count=0
    stop=$((end - count)) to=$end
    if [ "$stop" -gt "$at" ]; then
      if ! out "$1" piece 0 $((stop - at)); then
        complain "can't write to standard output"
        seek "$1" "$at"
        return 1
      fi
      read -r at <"/proc/self/fdinfo/$1"
      at=${at##*[!0-9]}
      case $count$excerpt in 0*[!"$nl"]) unfinished=$1 ;; *) unfinished= ;; esac
    fi
    [ "$count" -le 65536 ] || to=$stop
    [ "$count" = 0 ] || excerpt "$1" "$stop" "$to" || excerpt=
    # less came: it is shorter than it was, which a look shows, or a seek failed
    [ "$at" = "$stop" ] || to=$at end=$size
    text=$excerpt dirty=1
    put "$1" at to text
    [ "$end" -lt "$size" ] || return 0
    save
    look
    get "$1" path again
    [ "$path" ] && [ -z "$again" ] || return 0
  done
}

# out DESCRIPTOR COMMAND...: run it, which reads the descriptor and writes to standard output; look around meanwhile
out() {
  local fd=$1 child path other
  shift
  printing=$fd job=$((job + 1))
  get "$fd" path
  (
    trap '' TERM
    eval "exec <&$fd"
    # what is closed meanwhile takes no space on the disk
    for other in $open; do eval "exec $other<&-"; done
    case $unfinished in '' | "$fd") ;; *) echo ;; esac
    if [ "$PILLION_PREFIX" = true ]; then
      path=$(printf '%s' "${path//"$nl"/?}" | sed 's/[\\|&]/\\&/g')
      "$@" | sed "s|^|$path: |"
    else
      "$@"
    fi && echo "$job" >&3
  ) 2>/dev/null &
  child=$!
  # What it says on the pipe counts, since SIGTERM can end a `wait`, and then its status, which the shell keeps: on a
  # slow machine `read` gives up without a look at the pipe, and whoever is killed says nothing.
  until { read -r -t "$poll" ended <&3 && [ "$ended" = "$job" ]; } || ! kill -0 "$child" 2>/dev/null; do look; done
  printing='' seen=
  wait "$child" || [ "$ended" = "$job" ]
}

# print_all: print what came to each file, after the end of those that had its name before, and close what is done with
print_all() {
  local fd other path size at gone since links
  for fd in $open; do
    get "$fd" path size at gone since links
    [ "$path" ] || continue
    [ "$size" -le "$at" ] || for other in $open; do
      [ "$other" != "$fd" ] || break
      eval "[ \"\$path\" != \"\$path_$other\" ]" || print "$other" all || return
    done
    print "$fd" || return
    # an app may go on in a renamed file after days: that is closed only if there are many
    if [ "$gone" ] && [ $((seconds - since)) -ge "${PILLION_PATIENCE:-300}" ] && { [ "$links" = 0 ] || [ "$fd" -gt 119 ]; }; then
      print "$fd" all
      close "$fd"
    fi
  done
}

# --- the checkpoint --------------------------------------------------------------------------------------------------

# save: write down how far each file is printed, after it was
save() {
  local fd id path at to text all=''
  [ "$dirty" ] || return 0
  for fd in $open; do
    get "$fd" id path at to text
    all="$all$id $at $to ${path//"$nl"/?}// ${text//"$nl"/|}$nl"
  done
  if { printf '%s' "$all$ignored" >"$state/new" && mv -f "$state/new" "$state/files"; } 2>/dev/null; then
    dirty=
  else
    complain "no checkpoint in $state: a restart prints lines again"
  fi
}

# --- main ------------------------------------------------------------------------------------------------------------

# a pipe: a child says on it that it is done; else reading it is a pause
exec 3<<E
E
exec 3<>/proc/self/fd/3
set -o pipefail

for applet in cat dd id mv readlink sed sort stat tail wc; do command -v "$applet" >/dev/null || missing="$missing $applet"; done
[ -z "$missing" ] || set --
# the shell needs some for itself
limit=$(($(ulimit -n) - 10))
patterns=$*$nl
points=$(while IFS=' ' read -r _ _ _ _ point _; do printf '%b\n' "$point"; done </proc/self/mountinfo)$nl
for pattern; do volume "$pattern"; done

before=$nl
[ ! -f "$state/files" ] || settled=1 before=$nl$(cat "$state/files")$nl
ignored=$before
[ -z "$missing" ] || complain "nothing is printed: this image lacks$missing"
while :; do
  grew='' more=''
  look || grew=1
  print_all
  save
  [ -z "$grew$more" ] || calm=0
  [ -z "$more" ] || continue
  if [ "$ending" ]; then
    # a second without growth is the end; where the others have ended before, one look is
    [ "$calm" -lt 5 ] || break
    calm=$((calm + 1)) poll=0.2
    [ "$PILLION_NATIVE" != true ] || calm=5
  fi
  read -r -t "$poll" _ <&3
done
for fd in $open; do print "$fd" all; done
save
