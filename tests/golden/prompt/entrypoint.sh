#!/bin/bash
# A program of a container image as a command; written by hpcjob, which writes it anew when asked again.
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
export APPTAINER_NO_EVAL=1
exec apptainer run "${hpcjob_gpu[@]}" --bind "$hpcjob_here" --pwd "$hpcjob_here" /images/app.sif "$@"
