// The ladders of start and stop, as they run on a worker. Each returns how it ended; whether
// that is still an answer or came too late is the caller's matter.
#pragma once

#include "clusterd/model/effect.h"
#include "resource-agents/libvirt/boards.h"
#include "resource-agents/libvirt/guard_files.h"
#include "resource-agents/libvirt/worker_pool.h"

namespace clusterd::libvirt {

// What an operation works with besides its session.
struct Tools {
  Grants& grants;
  StopBoard& stops;
  const AgentBoard& agents;
  const Ticket& ticket;  // claimed: the time is over, begin nothing new
};

// Grant, create, revoke; after a failure the look decides.
[[nodiscard]] VmOperationEnded perform_start(Session& session, const Tools& tools,
                                             const DispatchStart& order,
                                             Clock::time_point deadline);

// Shutdown, wait, destroy; the look decides in any case.
[[nodiscard]] VmOperationEnded perform_stop(Session& session, const Tools& tools,
                                            const DispatchStop& order, Clock::time_point begun);

}  // namespace clusterd::libvirt
