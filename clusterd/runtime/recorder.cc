#include "clusterd/runtime/recorder.h"

namespace clusterd {

bool Recorder::fits(const std::string& bytes) {
  if (bytes.empty()) out_.stop("an event, or the state, is too large for it");
  return !bytes.empty();
}

void Recorder::before(const Controller& controller, Instant now, const Event& event) {
  const Recording::Wants wants = out_.wants();
  if (wants == Recording::Wants::nothing) return;
  if (!begun_ || wants == Recording::Wants::segment) {
    std::string head = writer_.begin({product_, steps_, controller.checkpoint()});
    if (!fits(head)) return;
    out_.begin(std::move(head));
    begun_ = true;
  }
  ++steps_;
  const std::string told = writer_.add(Told{now, event});
  if (fits(told)) out_.append(told);
}

void Recorder::after(const Effects& effects) {
  if (effects.empty() || !begun_ || out_.wants() == Recording::Wants::nothing) return;
  const std::string did = writer_.add(Did{digest_of(effects)});
  if (fits(did)) out_.append(did);
}

}  // namespace clusterd
