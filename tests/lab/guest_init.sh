#!/bin/busybox sh
# Pid 1 of a lab guest. The agent comes first: its answer is what "the guest is up" means. From then
# on the guest writes a heartbeat to its disk once a second, from which clusterlab/heartbeat.py
# tells who wrote, and whether two did. No forks where a shell builtin does: emulation is slow.

export PATH=/bin:/sbin
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox --install -s /bin

load() {
  while read -r module; do insmod "$module" 2>/dev/null; done < "$1"
}

# The port's name comes from the host by message, after the module is loaded.
start_agent() {
  while :; do
    for entry in /sys/class/virtio-ports/*; do
      name=
      [ -e "$entry/name" ] && read -r name < "$entry/name"
      if [ "$name" = org.qemu.guest_agent.0 ]; then
        exec qemu-ga -m virtio-serial -p "/dev/${entry##*/}" -t /run < /dev/null
      fi
    done
    sleep 0.05
  done
}

load /modules/agent
start_agent > /dev/console 2>&1 &

load /modules/other
acpid -d < /dev/null > /dev/null 2>&1 &

# ip4=ADDRESS on the kernel's command line: a network and a web page.
for word in $(cat /proc/cmdline); do
  case $word in
    ip4=*)
      ip link set lo up
      ip link set eth0 up
      ip addr add "${word#ip4=}/24" dev eth0
      echo ok > /www/healthz
      httpd -p 80 -h /www
      ;;
  esac
done

# The heartbeat: 64 regions of two blocks; the region follows from the random boot id, so that a
# second guest on this disk writes elsewhere and both stay readable. The two blocks are written in
# turn: a torn write never destroys the last good record.
read -r boot < /proc/sys/kernel/random/boot_id
first=${boot%"${boot#??}"}
region=$((0x$first % 64))
counter=0
echo "guest up, boot $boot"
while :; do
  read -r uptime rest < /proc/uptime
  if [ -b /dev/vda ]; then
    # The counter stands at both ends: a reader who hits the middle of a write can tell.
    printf 'clusterd-lab %s %s %s %s\n%0512d' "$counter" "$boot" "$uptime" "$counter" 0 |
      dd of=/dev/vda bs=512 count=1 seek=$((region * 2 + counter % 2)) conv=notrunc,fsync \
        2>/dev/null
    counter=$((counter + 1))
  fi
  sleep 1
done
