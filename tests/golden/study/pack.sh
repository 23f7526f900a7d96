#!/bin/bash
# Runs points of a parameter study: bash point-R.sh TABLE FIRST COUNT [COPIES]
# They are COUNT lines of the table, from FIRST on; the first below the header is 0. Several of this script, which a
# launcher starts or which are COPIES of it, share them out among each other by files in HPCJOB_CLAIMS.
set -u
hpcjob_table=$1 hpcjob_first=$2 hpcjob_count=$3 hpcjob_signal=0 hpcjob_failed=0 hpcjob_children=() hpcjob_ended=()
hpcjob_copies=${4:-1}
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
  true >|"$HPCJOB_CLAIMS/stop" # for a process that was just begun: before it is itself, it would miss the signal
  case $1/$hpcjob_copies in 10/1 | 12/1 | 24/1) # by these timeout would end, without the program
    pkill -"$1" -P "${hpcjob_children[0]:-0}" && return ;;
  esac
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

if ((hpcjob_copies > 1)); then
  for ((hpcjob_copy = 0; hpcjob_copy < hpcjob_copies; hpcjob_copy++)); do
    (exec bash "$0" "$1" "$2" "$3") &
    hpcjob_children+=("$!")
  done
  ((hpcjob_signal == 0)) || hpcjob_caught "$hpcjob_signal"
  for hpcjob_copy in "${hpcjob_children[@]}"; do hpcjob_wait "$hpcjob_copy"; done
  exit "$((hpcjob_signal ? 128 + hpcjob_signal : 0))"
fi

# Each point is a program of its own: MPI in it must not take srun, which started this, for what started it.
[[ -z ${SLURM_STEP_ID:-} ]] || unset "${!SLURM_STEP@}" "${!PMI@}" SLURM_PROCID SLURM_LOCALID SLURM_NTASKS SLURM_NPROCS

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
  [[ ! -e $HPCJOB_CLAIMS/stop ]] || exit 143
  # Open MPI 4 ends where one that ends at that time removes the folder of a person's sessions, which both are to use.
  export OMPI_MCA_orte_tmpdir_base=${OMPI_MCA_orte_tmpdir_base:-$HPCJOB_CLAIMS/ompi}.$hpcjob_row
  umask "$hpcjob_umask"
  hpcjob_log=/home/ada/jobs/drag/log/"$((HPCJOB_POINT / 1000))/$HPCJOB_POINT.log"
  hpcjob_room "$hpcjob_log"
  umask 077
  exec >"$hpcjob_log" 2>&1 </dev/null
  umask "$hpcjob_umask"
  exec timeout --kill-after=30 "$HPCJOB_LIMIT" \
    env re="${hpcjob_values[1]}" dt="${hpcjob_values[2]}" label="${hpcjob_values[3]}" \
    ./solve --re "${hpcjob_values[4]}"
}

export HPCJOB_POINT
for ((hpcjob_row = 0; hpcjob_row < hpcjob_count && hpcjob_signal == 0; hpcjob_row++)); do
  [[ ! -e $HPCJOB_CLAIMS/stop ]] || break
  hpcjob_claim=$HPCJOB_CLAIMS/$hpcjob_row
  [[ -e $hpcjob_claim ]] && continue
  set -C # noclobber: of those that make the file, only one can, and has the point
  if ! true 2>/dev/null >"$hpcjob_claim"; then
    [[ -e $hpcjob_claim ]] && continue
    hpcjob_stop 73 "$hpcjob_claim cannot be made"
  fi
  set +C
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
  hpcjob_tell b "$HPCJOB_TAG" "$HPCJOB_POINT" "$hpcjob_start"
  hpcjob_run &
  hpcjob_children=("$!")
  ((hpcjob_signal == 0)) || hpcjob_caught "$hpcjob_signal"
  hpcjob_wait "$!"
  hpcjob_children=()
  hpcjob_now
  ((hpcjob_code != 137 || ${hpcjob_time%.*} - ${hpcjob_start%.*} < HPCJOB_LIMIT)) || hpcjob_code=124 # it had to be killed
  ((hpcjob_signal == 0)) || hpcjob_code=$((128 + hpcjob_signal))
  hpcjob_tell p "$HPCJOB_TAG" "$HPCJOB_POINT" "$hpcjob_code" "$hpcjob_start" "$hpcjob_time"
  ((hpcjob_code == 0)) || hpcjob_failed=$hpcjob_code
done
((hpcjob_signal == 0)) || exit "$((128 + hpcjob_signal))"
# A launcher may end the others of its ranks where one ends badly, so the job's script is told by a file.
((hpcjob_failed == 0)) || true >>"$HPCJOB_CLAIMS/failed"
