#!/bin/bash
# A program of a container image as a command; written by hpcjob, which writes it anew when asked again.
[[ -r /images/app ]] || {
  printf 'hpcjob: there is no image %s\n' /images/app >&2
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
export USER="${USER:-$(id -un)}"
hpcjob_inside="$hpcjob_here"; [[ "$hpcjob_here"/ == /tmp/* || -d /images/app"$hpcjob_here" ]] || hpcjob_inside=/mnt/0
exec ch-run -b /data:/mnt/1 -b "$hpcjob_here:$hpcjob_inside" -c "$hpcjob_inside" --unset-env=LD_LIBRARY_PATH \
      --set-env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /images/app -- \
    samtools "$@"
