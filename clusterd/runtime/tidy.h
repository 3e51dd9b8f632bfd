// Tidying: what agents, libvirt and the system said is made fit to travel before the engine sees
// it. Otherwise one odd byte in an error message would make the report of a finished operation
// invalid for every member, and the operation would stay open for ever.
#pragma once

#include "clusterd/model/event.h"

namespace clusterd {

void tidy(Event& event);

}  // namespace clusterd
