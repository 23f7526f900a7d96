#!/bin/bash
#PBS -N solve
#PBS -q capacity
#PBS -A ab12
#PBS -l select=2:ncpus=102:mpiprocs=6:ompthreads=16:system=aurora
#PBS -l place=scatter
#PBS -l walltime=00:30:00
#PBS -j oe
#PBS -o /dev/null
#PBS -l filesystems=home:flare

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
module load apptainer || hpcjob_stop 69 module load apptainer failed
set -u

export http_proxy=http://proxy.alcf.anl.gov:3128
export https_proxy=http://proxy.alcf.anl.gov:3128

# A copy of the node list, for containers on all nodes.
cp "$PBS_NODEFILE" /home/ada/jobs/3f9c2a/nodes
export PBS_NODEFILE=/home/ada/jobs/3f9c2a/nodes

hpcjob_mpi=/home/ada/jobs/.mpi/3fa85f6457174562
[[ -r $hpcjob_mpi ]] || hpcjob_stop 66 there is no /home/ada/jobs/.mpi/3fa85f6457174562
[[ -r /images/app.sif ]] || hpcjob_stop 66 there is no image /images/app.sif
# On all nodes: is all there that ranks need, and are the files of the host's MPI those that were planned?
mpiexec -n 2 --ppn 1 --depth 1 --cpu-bind depth bash "$hpcjob_mpi"/check /images/app.sif </dev/null || hpcjob_code=$?
case ${hpcjob_code:-} in 66 | 78) exit "$hpcjob_code" ;; esac

export APPTAINERENV_MPICH_OFI_NIC_POLICY=NUMA
export APPTAINERENV_LD_LIBRARY_PATH=/hpcjob/mpi/front:/opt/cray/pe/mpich/8.1.27/ofi/gnu/12.3/lib:/hpcjob/mpi/tail
export APPTAINERENV_OMP_NUM_THREADS=16

# Do the ranks find each other? A small program of hpcjob's tells, started as the job's own will be.
. "$hpcjob_mpi"/judge
hpcjob_canary /home/ada/jobs/3f9c2a/canary 12 2 '*CRAY MPICH*8.1.27*' 'Cray MPICH 8.1.27' '' \
  mpiexec -n 12 --ppn 6 --depth 16 --cpu-bind=list:1-16:17-32:33-48:53-68:69-84:85-100 \
    apptainer exec --bind "$PBS_NODEFILE" --bind /flare --bind /lus/flare/projects --bind /home/ada/jobs/.mpi/3fa85f6457174562:/hpcjob/mpi \
      --bind /opt/cray/libfabric/1.20/lib64 --bind /opt/cray/pe/lib64 --bind /opt/cray/pe/mpich/8.1.27/ofi/gnu/12.3 \
      --bind /usr/lib64:/hpcjob/host/usr/lib64 --bind /home/ada/run --pwd /home/ada/run /images/app.sif \
    /hpcjob/mpi/canary

mpiexec -n 12 --ppn 6 --depth 16 --cpu-bind=list:1-16:17-32:33-48:53-68:69-84:85-100 \
    bash -c 'ZE_ENABLE_PCI_ID_DEVICE_ORDER=1 ZE_AFFINITY_MASK="$PALS_LOCAL_RANKID" exec "$@"' rank \
    apptainer exec --bind "$PBS_NODEFILE" --bind /flare --bind /lus/flare/projects --bind /home/ada/jobs/.mpi/3fa85f6457174562:/hpcjob/mpi \
      --bind /opt/cray/libfabric/1.20/lib64 --bind /opt/cray/pe/lib64 --bind /opt/cray/pe/mpich/8.1.27/ofi/gnu/12.3 \
      --bind /usr/lib64:/hpcjob/host/usr/lib64 --bind /home/ada/run --pwd /home/ada/run /images/app.sif \
    ./solve in.nml || hpcjob_status=$?
