// SimProber: how the guests of one host answer their checks. Asks only as long as something is
// wrong: a check that passes is asked again when its guest changes, so that healthy guests cost
// the simulation nothing. What the daemon is told is the same.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "clusterd/ports/prober.h"
#include "tests/sim/world.h"

namespace clusterd::sim {

class SimProber final : public Prober {
 public:
  using Post = std::function<void(Event)>;

  SimProber(SimEnv& env, SimHost& host) : env_(env), host_(host) {}

  // The daemon that runs now.
  void connect(Post post);
  void disconnect();

  void watch(const WatchGuest& order) override;
  void unwatch(const UnwatchGuest& order) override;
  void repair(const RepairGuest& order) override;

  // ---- faults and events of the world; no effect on a guest that is not here ----
  // It stands still, with all in it, or goes on.
  void set_hung(VmId vm, bool hung);
  void set_agent_dead(VmId vm, bool dead);
  // The application behind every probe.
  void set_app_dead(VmId vm, bool dead);
  // ... and no restart of the guest helps.
  void break_app(VmId vm, SimTime until);
  // From inside, in the same QEMU process.
  void reboot(VmId vm, const std::string& reason);
  // A guest came up, or something in it has changed.
  void changed(VmId vm);

 private:
  struct Question {
    Duration interval{0};
    Duration timeout{0};
    bool exec = false;  // through the agent
    bool asked = false;
    bool silent = false;  // the last question found the agent silent, and the guest alive
    bool told_pass = false;
  };
  struct Watch {
    std::uint64_t number = 0;
    std::map<std::string, Question> questions;
  };

  void ask_later(VmId vm, const std::string& check, SimTime delay);
  void ask(VmId vm, const std::string& check);
  [[nodiscard]] SimDomain* guest(VmId vm);
  [[nodiscard]] Question* question(VmId vm, std::uint64_t number, const std::string& check);

  SimEnv& env_;
  SimHost& host_;
  Post post_;
  std::uint64_t session_ = 0;
  std::map<VmId, Watch> watches_;
};

}  // namespace clusterd::sim
