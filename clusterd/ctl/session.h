// Session: one request to the daemon of this host and its answers; how every command ends.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "clusterd/base/time.h"
#include "clusterd/model/control.h"

namespace clusterd::ctl {

// What every command knows of its surroundings.
struct Options {
  std::string ipc_name = "clusterd";
  Duration timeout{120000};  // of a change; then the outcome is unknown
  bool json = false;
  bool terminal = false;     // progress and colour only then
};

using Json = nlohmann::ordered_json;

// Sends and waits for the last answer. Never throws: a daemon that is not there is a reply with
// ReplyCode::unavailable, a deadline that passes one with ReplyCode::unknown.
[[nodiscard]] ControlReply ask(const Options& options, const ControlRequest& request);

// Prints a reply's message (stderr when it failed) and turns it into the exit code.
[[nodiscard]] int finish(const ControlReply& reply);

// Asks a reading request. With --json the answer is printed as it came, else `print` shows it.
[[nodiscard]] int read(const Options& options, const ControlRequest& request,
                       const std::function<void(const Json&)>& print);

}  // namespace clusterd::ctl
