#!/bin/bash
# Runs a point of a parameter study: bash point-R.sh TABLE FIRST 1
# It is line FIRST of the table, where the first below the header is 0.
set -u
hpcjob_table=$1 hpcjob_first=$2 hpcjob_count=$3 hpcjob_signal=0 hpcjob_failed=0 hpcjob_children=() hpcjob_ended=()
read -r hpcjob_host </proc/sys/kernel/hostname # HOSTNAME may be the name of the node that submitted
hpcjob_study=/home/ada/jobs/drag
hpcjob_ends=$hpcjob_study/ends/$hpcjob_host

hpcjob_tell() { # one short write, into which no other process can write
  printf '%s\n' "$*" >>"$hpcjob_ends" && return
  printf 'hpcjob: %s cannot be written, and this is lost: %s\n' "$hpcjob_ends" "$*" >&2
  hpcjob_failed=74
}
hpcjob_now() { # bash before 5.0 has whole seconds; some languages write fractions with a comma
  hpcjob_time=${EPOCHREALTIME:-}
  hpcjob_time=${hpcjob_time/,/.}
  [[ $hpcjob_time ]] || printf -v hpcjob_time '%(%s)T' -1
}
hpcjob_caught() { # the scheduler may have told this script alone, so the program is told
  hpcjob_signal=$1
  [[ -z ${hpcjob_children[*]:-} ]] || kill -"$1" "${hpcjob_children[@]}" 2>/dev/null
}
hpcjob_wait() { # a signal ends bash's wait, and not what it waits for
  while true; do
    wait "$1" 2>/dev/null && hpcjob_code=0 || hpcjob_code=$?
    kill -0 "$1" 2>/dev/null || break
  done
}
trap 'hpcjob_caught 1' HUP
trap 'hpcjob_caught 2' INT
trap 'hpcjob_caught 10' USR1
trap 'hpcjob_caught 12' USR2
trap 'hpcjob_caught 15' TERM
trap 'hpcjob_caught 24' XCPU

hpcjob_umask=$(umask)
umask 077
hpcjob_stop() {
  printf 'hpcjob: %s on node %s\n' "${*:2}" "$hpcjob_host" >&2
  exit "$1"
}
cd /home/ada/run || hpcjob_stop 72 there is no folder /home/ada/run
mapfile -t -s "$((hpcjob_first + 1))" -n "$hpcjob_count" hpcjob_rows <"$hpcjob_table"
[[ ${hpcjob_rows[hpcjob_count - 1]:-} ]] || hpcjob_stop 66 "not $hpcjob_count lines from $hpcjob_first on in $hpcjob_table"

if ((${HPCJOB_RESTARTS:-0} > 0)); then # the task was started before: what ended then is not run again
  while read -r hpcjob_point hpcjob_code; do hpcjob_ended[hpcjob_point]=$hpcjob_code; done \
    < <(sed -n "s/^p $HPCJOB_TAG \([0-9]\{1,\}\) \([0-9]\{1,\}\) .*/\1 \2/p" "$hpcjob_study"/ends/*)
fi

hpcjob_read() { # the fields of a line, between tabs, as they were before printf's %b escapes
  local IFS=$'\037' hpcjob_line=${1//$'\t'/$'\037'}$'\037' hpcjob_field # tabs side by side would be one
  hpcjob_values=()
  set -f
  for hpcjob_field in $hpcjob_line; do
    printf -v hpcjob_field %b "$hpcjob_field"
    hpcjob_values+=("$hpcjob_field")
  done
  set +f
}
hpcjob_room() { # for a file, the folder that it is in
  [[ $1 != */* || -d ${1%/*}/ ]] || mkdir -p -- "${1%/*}/" || exit 73
}
hpcjob_run() { # in a process of its own, which becomes the program
  umask "$hpcjob_umask"
  hpcjob_room "$HPCJOB_FOLDER"/
  hpcjob_log=logs/"${hpcjob_values[3]}".log
  hpcjob_room "$hpcjob_log"
  umask 077
  exec >"$hpcjob_log" 2>&1 </dev/null
  umask "$hpcjob_umask"
  cd ./"$HPCJOB_FOLDER" || exit 73
  hpcjob_file=in.nml
  hpcjob_room "$hpcjob_file"
  printf %s '&flow
  name = '"'"'drag'"'"'
' "${hpcjob_values[5]}" '
/
' >"$hpcjob_file" || exit 73
  hpcjob_file=data/mesh.h5
  hpcjob_room "$hpcjob_file"
  hpcjob_link='/home/ada/my mesh.h5'
  [[ $hpcjob_file -ef '/home/ada/my mesh.h5' ]] || ln -sT -- "$hpcjob_link" "$hpcjob_file" || exit 73
  exec env re="${hpcjob_values[1]}" dt="${hpcjob_values[2]}" label="${hpcjob_values[3]}" \
    srun --ntasks=4 \
    apptainer exec --pwd "$HPCJOB_FOLDER" /images/app.sif \
    ./solve in.nml
}

export HPCJOB_POINT
for ((hpcjob_row = 0; hpcjob_row < hpcjob_count && hpcjob_signal == 0; hpcjob_row++)); do
  hpcjob_read "${hpcjob_rows[hpcjob_row]}"
  HPCJOB_POINT=${hpcjob_values[0]}
  case ${hpcjob_ended[HPCJOB_POINT]:-} in
    '' | 129 | 130 | 138 | 140 | 143 | 152) ;; # not ended, or by what ended the task: the signals above
    *)
      ((hpcjob_ended[HPCJOB_POINT] == 0)) || hpcjob_failed=${hpcjob_ended[HPCJOB_POINT]}
      continue
      ;;
  esac
  hpcjob_now
  hpcjob_start=$hpcjob_time
  if [[ -e $hpcjob_study/skip/$HPCJOB_POINT ]]; then
    hpcjob_tell p "$HPCJOB_TAG" "$HPCJOB_POINT" cancelled "$hpcjob_start" "$hpcjob_start"
    continue
  fi
  export HPCJOB_FOLDER=runs/"${hpcjob_values[1]}"-"${hpcjob_values[0]}"
  hpcjob_run &
  hpcjob_children=("$!")
  ((hpcjob_signal == 0)) || hpcjob_caught "$hpcjob_signal"
  hpcjob_wait "$!"
  hpcjob_children=()
  hpcjob_now
  ((hpcjob_signal == 0)) || hpcjob_code=$((128 + hpcjob_signal))
  hpcjob_tell p "$HPCJOB_TAG" "$HPCJOB_POINT" "$hpcjob_code" "$hpcjob_start" "$hpcjob_time"
  ((hpcjob_code == 0)) || hpcjob_failed=$hpcjob_code
done
((hpcjob_signal == 0)) || exit "$((128 + hpcjob_signal))"
exit "$hpcjob_failed"
