// Who may send changing requests: root, and members of one group of this machine.
#pragma once

#include <sys/types.h>

#include <string>

namespace clusterd {

// True for uid 0, for an effective group id that is the group's, and for a user whose name stands
// in the group's line. Only the local files are read: a name service in the network could block
// the caller for its whole timeout. Users who are known only there use `sg GROUP -c ...`.
[[nodiscard]] bool may_change(uid_t uid, gid_t gid, const std::string& group);

}  // namespace clusterd
