# Judge what the canary wrote: did the ranks find each other, where they should, with the right library?
#
#   hpcjob_judge OUT ERR TASKS NODES [PATTERN [PLANNED]]
#
# OUT, ERR: files with its output and errors (and with what the launcher wrote to them). TASKS, NODES: how many were
# asked for. PATTERN: a pattern of bash for the library's words (empty: any will do); PLANNED: what to call it.
# Writes nothing and returns 0, or writes one line on what is wrong and returns 1.
hpcjob_judge() {
  local out=$1 err=$2 tasks=$3 nodes=$4 pattern=${5-} planned=${6-${5-}}
  local line rank size host ok lib wanted hosts='' wrong='' size_seen='' library='' family='' strange='' twice=''
  local -i lines=0 alone=0 places=0
  local -A rank_seen=() host_seen=()
  # Before a line stands what the launcher writes there (srun --label), behind it the CR of a terminal.
  local shape='hpcjob-canary rank=(-?[0-9]+) size=(-?[0-9]+) host=([^ ]+) ok=([a-z0-9]+) lib=([^'$'\r'']*)'
  [[ -r $out ]] || out=/dev/null
  while IFS= read -r line || [[ -n $line ]]; do
    [[ $line =~ $shape ]] || continue
    rank=${BASH_REMATCH[1]} size=${BASH_REMATCH[2]} host=${BASH_REMATCH[3]} ok=${BASH_REMATCH[4]} lib=${BASH_REMATCH[5]}
    lines+=1
    library=$lib
    [[ $rank/$size != 0/1 ]] || alone+=1
    [[ $size == "$tasks" ]] || size_seen=$size
    [[ -z ${rank_seen[$rank]-} ]] || twice=$rank
    rank_seen[$rank]=1
    [[ -n ${host_seen[$host]-} ]] || places+=1 hosts+="${hosts:+, }$host"
    host_seen[$host]=1
    # shellcheck disable=SC2053  # a pattern is what it is
    [[ -z $pattern || $lib == $pattern ]] || strange=$lib
    case $ok in 1) ;; family) family=$lib ;; *) wrong+="${wrong:+, }$rank" ;; esac
  done <"$out"

  wanted=$((nodes < tasks ? nodes : tasks))
  if [[ -n $family ]]; then
    line="the program was built for another family of MPI than the one that it gets: '$family'"
  elif ((alone == lines && lines > 1)); then
    line="the ranks did not find each other: $lines programs each say that they are rank 0 of 1"
    line+=" (the launcher and the MPI of the image, '$library', do not understand each other)"
  elif ((lines < tasks)); then
    ((lines > 0)) && line="only $lines" || line=none
    line+=" of the $tasks tasks could start MPI and report$(hpcjob_last_words "$err" "$out")"
  elif ((lines > tasks)); then
    line="$lines programs reported, and $tasks tasks were asked for: the launcher started too many"
  elif [[ -n $size_seen ]]; then
    line="the ranks did not all find each other: there are groups of $size_seen, and $tasks tasks were asked for"
  elif [[ -n $twice ]]; then
    line="the ranks did not all find each other: more than one says that it is rank $twice of $tasks"
  elif [[ -n $wrong ]]; then
    line="messages between the ranks did not arrive as they were sent (rank $wrong)$(hpcjob_last_words "$err" "$out")"
  elif ((places < wanted && places == 1)); then
    line="all ranks ran on $hosts, and $nodes nodes were asked for"
  elif ((places < wanted)); then
    line="the ranks ran on $places nodes ($hosts), and $nodes were asked for"
  elif [[ -n $strange ]]; then
    line="the MPI in the container is '$strange', and '$planned' was planned"
  else
    return 0
  fi
  printf '%s\n' "$line"
  return 1
}

# What files say about a failure, in one line: what the loader of a program or UCX wrote, or else the last words of the first
# file that has any.
hpcjob_last_words() {
  local file line first='' second='' third=''
  local loader='error while loading shared libraries|symbol lookup error|[Ee]rror (loading|relocating) '
  # UCX: its backtrace and the launcher's words, which follow, say nothing.
  loader+='|process_vm_readv|UCX +ERROR'
  for file; do
    [[ -r $file && -z $third ]] || continue
    while IFS= read -r line || [[ -n $line ]]; do
      line=${line%$'\r'}
      [[ $line == *[![:space:]]* && $line != *'hpcjob-canary rank='* ]] || continue
      first=$second second=$third third=$line
      [[ ! $line =~ $loader ]] || { first='' second='' && break; }
    done <"$file"
  done
  line="${first:+$first | }${second:+$second | }$third"
  printf '%s' "${line:+: ${line:0:500}}"
}
