// Whether this host can be suspended.
#pragma once

namespace clusterd {

// It cannot: its kernel knows no sleep (nothing stands in /sys/power/state), or systemd's targets
// for it are all masked. Sources: Documentation/admin-guide/pm/sleep-states of the kernel,
// systemd-sleep.conf(5), systemctl(1) "mask".
[[nodiscard]] bool never_sleeps();

}  // namespace clusterd
