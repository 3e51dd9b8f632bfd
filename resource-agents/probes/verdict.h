// Verdict: how one question to a guest ended, before it is known whether this host was too late to
// judge.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "clusterd/base/text.h"
#include "clusterd/base/time.h"
#include "resource-agents/libvirt/guest_agent.h"

namespace clusterd::probes {

inline constexpr std::size_t kDetail = 200;  // bytes

struct Verdict {
  // timed_out, silent and busy count only if this host was on time itself; unclear says nothing.
  // silent: the guest's agent does not answer. Whoever hears it looks for another sign of life, and
  // makes it busy if there is one.
  enum class Kind : std::uint8_t { passed, failed, timed_out, silent, busy, unclear };

  Kind kind = Kind::unclear;
  std::string detail;
};

// "5 s", "0.25 s".
[[nodiscard]] inline std::string seconds(Duration d) {
  std::string text = std::to_string(d.count() / 1000);
  if (const auto rest = d.count() % 1000; rest != 0) {
    std::string digits = std::to_string(1000 + rest).substr(1);
    digits.resize(digits.find_last_not_of('0') + 1);
    text += "." + digits;
  }
  return text + " s";
}

// One line of valid UTF-8 without control characters, at most kDetail bytes.
[[nodiscard]] inline std::string tidy_detail(std::string_view text) {
  std::string detail = tidy_text(text, kDetail);
  for (char& c : detail) {
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
  }
  return detail;
}

// What an agent's failure says of the guest; `doing`, if there is any, in front of its words.
[[nodiscard]] inline Verdict verdict_of(const AgentFailure& failure, const std::string& doing) {
  const std::string detail = doing.empty() ? failure.detail : doing + ": " + failure.detail;
  switch (failure.kind) {
    case AgentFailure::Kind::silent:
      return {Verdict::Kind::silent, detail};
    case AgentFailure::Kind::refused:
      return {Verdict::Kind::failed, detail};
    case AgentFailure::Kind::frozen:
    case AgentFailure::Kind::not_asked:
      break;
  }
  return {Verdict::Kind::unclear, detail};
}

}  // namespace clusterd::probes
