// Control: answers to local clients. Requests come as events (ClientRequest, ClientGone).
#pragma once

#include "clusterd/model/control.h"

namespace clusterd {

class Control {
 public:
  virtual ~Control() = default;
  // Sends one reply; the request is over unless `reply.more`. No effect when the client is gone.
  virtual void reply(ClientId client, const ControlReply& reply) = 0;
};

}  // namespace clusterd
