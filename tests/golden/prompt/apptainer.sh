#!/bin/bash
# A program of a container image as a command; written by hpcjob, which writes it anew when asked again.
type module >/dev/null 2>&1 || if [[ -r $MODULESHOME/init/bash ]]; then . "$MODULESHOME/init/bash"; else . /etc/profile; fi
module purge || exit 69
module use "$HOME/modules" || exit 69
module use --append /soft/modules || exit 69
module load gcc/13.2 apptainer/1.3 pigz || exit 69
export CACHE="/scratch/$USER"
[[ -r /images/app.sif ]] || {
  printf 'hpcjob: there is no image %s\n' /images/app.sif >&2
  exit 66
}
hpcjob_here=$PWD
case $PWD/ in
  /var/tmp/*) ;;
  // | /bin/* | /boot/* | /dev/* | /etc/* | /lib*/* | /opt/ | /proc/* | /run/ | /sbin/* | /sys/* | /usr/* | /var/*)
    hpcjob_here=/tmp # the image has a folder of that name itself
    printf 'hpcjob: %s of this machine is not shown in the container; starting in /tmp\n' "$PWD" >&2
    ;;
esac
if [[ $hpcjob_here == *[:,]* ]]; then
  printf 'hpcjob: a folder with a colon or comma in its name cannot be shown in the container: %s\n' "$PWD" >&2
  exit 72
fi
hpcjob_gpu=()
[[ ! -e /dev/nvidiactl ]] || hpcjob_gpu=(--nv)
export APPTAINERENV_MODE='fast, and '"'"'safe'"'"''
exec apptainer exec "${hpcjob_gpu[@]}" --bind /opt/cray --bind "/scratch/$USER:/scratch" --bind /data/in:/in:ro \
      --bind "$hpcjob_here" --pwd "$hpcjob_here" /images/app.sif \
    samtools "$@"
