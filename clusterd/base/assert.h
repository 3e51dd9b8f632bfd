// CLUSTERD_ASSERT: our own invariants, always on, one condition each.
//
// Never used on anything that came from outside (wire, YAML, libvirt, an agent, an operator):
// such input is validated and refused with a message.
#pragma once

namespace clusterd {

// Prints `file:line: assertion failed: condition` to stderr and aborts.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace clusterd

#define CLUSTERD_ASSERT(condition)    \
  ((condition) ? static_cast<void>(0) \
               : ::clusterd::assertion_failed(#condition, __FILE__, __LINE__))
