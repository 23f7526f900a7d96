#!/bin/bash
#SBATCH --job-name=solve
#SBATCH --partition=gpu
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --chdir=/home/ada/run
#SBATCH --output=/home/ada/jobs/3f9c2a/stdout.log
#SBATCH --error=/home/ada/jobs/3f9c2a/stderr.log

set -euo pipefail
export HPCJOB_NATIVE_ID=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-}} HPCJOB_RESTARTS=${SLURM_RESTART_COUNT:-0}

# Whatever ends this script, it leaves its exit code, signal and times in the job's folder.
hpcjob_start=$(date +%s) hpcjob_signal=0 hpcjob_status=0
hpcjob_exit_file=/home/ada/jobs/3f9c2a/exit
hpcjob_end() {
  local code=$? temporary=${hpcjob_exit_file%/*}/.end.$HOSTNAME.$$
  ((hpcjob_status == 0)) || code=$hpcjob_status
  trap '' HUP INT USR1 USR2 TERM XCPU
  timeout 10 podman rm --force --time=2 --filter label=hpcjob=3f9c2a".${HPCJOB_ARRAY_INDEX:-}" >/dev/null 2>&1 </dev/null || true
  unset LD_LIBRARY_PATH LD_PRELOAD
  PATH=/usr/bin:/bin
  (
    umask 077
    printf '%s\n' "code=$code" "signal=$hpcjob_signal" "start=$hpcjob_start" "end=$(date +%s)" \
      "host=$HOSTNAME" "id=${HPCJOB_NATIVE_ID:-}" "restarts=${HPCJOB_RESTARTS:-0}" \
      >"$temporary" && mv -f "$temporary" "$hpcjob_exit_file"
  ) || printf 'hpcjob: %s cannot be written\n' "$hpcjob_exit_file" >&2
  exit "$code"
}
hpcjob_caught() {
  hpcjob_signal=$1
  exit $((128 + $1))
}
hpcjob_stop() {
  printf 'hpcjob: %s on node %s\n' "${*:2}" "$HOSTNAME" >&2
  exit "$1"
}
trap hpcjob_end EXIT
trap 'hpcjob_caught 1' HUP
trap 'hpcjob_caught 2' INT
trap 'hpcjob_caught 10' USR1
trap 'hpcjob_caught 12' USR2
trap 'hpcjob_caught 15' TERM
trap 'hpcjob_caught 24' XCPU
rm -f "$hpcjob_exit_file" || true # of an earlier start, if this is a requeue

cd /home/ada/run || hpcjob_stop 72 there is no folder /home/ada/run

[[ -e /data/in ]] || hpcjob_stop 66 there is no /data/in
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --mpi=none \
    podman pull --quiet docker.io/library/app@sha256:1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f >/dev/null || hpcjob_stop 69 the image could not be got
hpcjob_podman() {
  local command=$1 name=hpcjob-$HOSTNAME-$BASHPID streams=passthrough code ended out watch
  shift 2
  # The environment of this process; but PATH is the image's own.
  local variable
  for variable in $(compgen -e); do
    [[ $variable == @(PATH|LD_LIBRARY_PATH) ]] || set -- "--env=$variable" "$@"
  done
  if [[ -t 0 || -t 1 || -t 2 ]]; then streams=none; fi
  if [[ -n ${PMI_FD:-} ]]; then exec 3<&"$PMI_FD"; PMI_FD=3; else exec 3</dev/null; fi
  # Whatever ends this process: one that is out of the job's reach sees to it that the container ends too.
  exec {watch}> >(
    cd /
    exec >/dev/null 2>&1 3>&-
    exec setsid --fork bash -c 'read -r && sleep 1 && ! "$1" container exists "$2" ||
      for _ in {1..9}; do "$1" stop --time 30 "$2" && break; sleep 1; done' hpcjob "$command" "$name"
  )
  trap '"$command" kill --signal=HUP "$name" >/dev/null 2>&1' HUP
  trap '"$command" kill --signal=USR1 "$name" >/dev/null 2>&1' USR1
  trap '"$command" kill --signal=USR2 "$name" >/dev/null 2>&1' USR2
  trap '[[ -z $watch ]] || exec {watch}>&-; watch=' TERM INT
  # Its end comes through a pipe: bash's wait may lose it when a signal is near.
  exec {out}>&1
  exec {ended}< <(
    exec {watch}>&-
    trap : HUP INT QUIT TERM USR1 USR2
    "$command" run --name "$name" --log-driver="$streams" --preserve-fds=1 "$@" <&0 >&"$out" {out}>&-
    echo "$?"
  )
  exec {out}>&-
  until read -r -u "$ended" code || (($? < 128)); do :; done
  trap '' TERM INT PIPE
  [[ -z $watch ]] || echo 1>&"$watch" 2>/dev/null
  exit "${code:-255}"
}
export -f hpcjob_podman

export OMP_NUM_THREADS=1
export MODE='fast, and '"'"'safe'"'"''

srun --ntasks=8 --cpu-bind=cores \
    bash -c 'hpcjob_podman "$@"' hpcjob podman run --rm --label=hpcjob=3f9c2a".${HPCJOB_ARRAY_INDEX:-}" \
      --network=host --pid=host --ipc=host --userns=keep-id --device nvidia.com/gpu=all -v /data/in:/in:ro -v /home/ada/run:/home/ada/run \
      -w /home/ada/run --env=OMP_NUM_THREADS --env=MODE --entrypoint= \
      docker.io/library/app@sha256:1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f \
    ./solve in.nml || hpcjob_status=$?
