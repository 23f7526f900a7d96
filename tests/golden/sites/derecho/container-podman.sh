#!/bin/bash
#PBS -N solve
#PBS -q main
#PBS -A ab12
#PBS -l select=4:ncpus=128:mpiprocs=128:ompthreads=1
#PBS -l place=scatter
#PBS -l walltime=00:30:00
#PBS -j oe
#PBS -o /dev/null

set -euo pipefail
export HPCJOB_NATIVE_ID=$PBS_JOBID
hpcjob_start_file=/home/ada/jobs/3f9c2a/start
HPCJOB_RESTARTS=$(grep -c ^start= "$hpcjob_start_file" 2>/dev/null || true)
export HPCJOB_RESTARTS=${HPCJOB_RESTARTS:-0}
umask 0022 # PBS has 077

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

exec >/home/ada/jobs/3f9c2a/stdout.log 2>/home/ada/jobs/3f9c2a/stderr.log
# The server may keep no history: this tells that the job began, each time.
printf '%s\n' "id=$HPCJOB_NATIVE_ID" "start=$hpcjob_start" "host=$HOSTNAME" >>"$hpcjob_start_file"
cd /home/ada/run || hpcjob_stop 72 there is no folder /home/ada/run

set +u # the functions of module systems use variables that are not set
if ! type module >/dev/null 2>&1; then # what submitted was no bash, or nothing of it came along
  hpcjob_umask=$(umask)
  if [[ -r $MODULESHOME/init/bash ]]; then . "$MODULESHOME/init/bash"; else . /etc/profile; fi || true
  umask "$hpcjob_umask"
fi
type module >/dev/null 2>&1 || hpcjob_stop 69 bash knows no command module, which module_init of the site can define,
module load podman || hpcjob_stop 69 module load podman failed
set -u

# A copy of the node list, for containers on all nodes.
cp "$PBS_NODEFILE" /home/ada/jobs/3f9c2a/nodes
export PBS_NODEFILE=/home/ada/jobs/3f9c2a/nodes
hpcjob_mpi=/home/ada/jobs/.mpi/3fa85f6457174562
[[ -r $hpcjob_mpi ]] || hpcjob_stop 66 there is no /home/ada/jobs/.mpi/3fa85f6457174562
podman pull --quiet registry.example.org/app:1.0 >/dev/null || hpcjob_stop 69 the image could not be got
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

# Do the ranks find each other? A small program of hpcjob's tells, started as the job's own will be.
. "$hpcjob_mpi"/judge
hpcjob_canary /home/ada/jobs/3f9c2a/canary 512 4 '*CRAY MPICH*8.1.27*' 'Cray MPICH 8.1.27' '' \
  mpiexec -n 512 --ppn 128 --depth 1 --cpu-bind depth --no-transfer \
    bash -c 'hpcjob_podman "$@"' hpcjob podman run --rm --label=hpcjob=3f9c2a".${HPCJOB_ARRAY_INDEX:-}" \
      --network=host --pid=host --ipc=host --userns=keep-id -v "$PBS_NODEFILE:$PBS_NODEFILE" -v /glade:/glade -v /run:/run \
      -v /home/ada/jobs/.mpi/3fa85f6457174562:/hpcjob/mpi -v /opt/cray/libfabric/1.20/lib64:/opt/cray/libfabric/1.20/lib64 \
      -v /opt/cray/pe/lib64:/opt/cray/pe/lib64 -v /opt/cray/pe/mpich/8.1.27/ofi/gnu/12.3:/opt/cray/pe/mpich/8.1.27/ofi/gnu/12.3 \
      -v /usr/lib64:/hpcjob/host/usr/lib64 -v /home/ada/run:/home/ada/run -w /home/ada/run --env=OMP_NUM_THREADS \
      --entrypoint= registry.example.org/app:1.0 \
    env MPICH_OFI_NIC_POLICY=NUMA \
      LD_LIBRARY_PATH=/hpcjob/mpi/front:/opt/cray/pe/mpich/8.1.27/ofi/gnu/12.3/lib:/hpcjob/mpi/tail \
      MPICH_SMP_SINGLE_COPY_MODE=NONE /hpcjob/mpi/canary

mpiexec -n 512 --ppn 128 --depth 1 --cpu-bind depth --no-transfer \
    bash -c 'hpcjob_podman "$@"' hpcjob podman run --rm --label=hpcjob=3f9c2a".${HPCJOB_ARRAY_INDEX:-}" \
      --network=host --pid=host --ipc=host --userns=keep-id -v "$PBS_NODEFILE:$PBS_NODEFILE" -v /glade:/glade -v /run:/run \
      -v /home/ada/jobs/.mpi/3fa85f6457174562:/hpcjob/mpi -v /opt/cray/libfabric/1.20/lib64:/opt/cray/libfabric/1.20/lib64 \
      -v /opt/cray/pe/lib64:/opt/cray/pe/lib64 -v /opt/cray/pe/mpich/8.1.27/ofi/gnu/12.3:/opt/cray/pe/mpich/8.1.27/ofi/gnu/12.3 \
      -v /usr/lib64:/hpcjob/host/usr/lib64 -v /home/ada/run:/home/ada/run -w /home/ada/run --env=OMP_NUM_THREADS \
      --entrypoint= registry.example.org/app:1.0 \
    env MPICH_OFI_NIC_POLICY=NUMA \
      LD_LIBRARY_PATH=/hpcjob/mpi/front:/opt/cray/pe/mpich/8.1.27/ofi/gnu/12.3/lib:/hpcjob/mpi/tail \
      MPICH_SMP_SINGLE_COPY_MODE=NONE ./solve in.nml || hpcjob_status=$?
