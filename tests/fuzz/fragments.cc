// Fragments of several senders in any order: a value that comes out is one that a sender cut.
// runs: 80000
#include <algorithm>
#include <map>
#include <vector>

#include "clusterd/base/assert.h"
#include "clusterd/runtime/reassembly.h"
#include "tests/fuzz/support/fuzz.h"
#include "tests/fuzz/support/told.h"

using namespace clusterd;

namespace {

// The newest pieces of one value that came from its first one on without a gap.
struct Run {
  std::uint32_t total = 0;
  std::uint32_t pieces = 0;
  std::string bytes;
};

class Model {
 public:
  void add(int value, const Fragment& fragment) {
    Run& run = runs_[value];
    const bool continues = fragment.number == run.pieces && fragment.total == run.total;
    if (fragment.number == 0 || !continues) run = Run{fragment.total, 0, {}};
    if (fragment.number != run.pieces) return;
    ++run.pieces;
    run.bytes += fragment.bytes;
  }
  [[nodiscard]] const Run& of(int value) { return runs_[value]; }
  void reset() { runs_.clear(); }
  [[nodiscard]] std::size_t bytes() const {
    std::size_t sum = 0;
    for (const auto& [value, run] : runs_) sum += run.bytes.size();
    return sum;
  }

 private:
  std::map<int, Run> runs_;
};

}  // namespace

// A script of steps: 255 is a view change; any other byte names a value of one of two senders,
// and a fragment of it follows: number, total, bytes.
void fuzz_one(std::string_view input) {
  fuzz::Script script(input);
  Reassembly reassembly;
  Model model;
  while (!script.at_end()) {
    const int step = script.byte();
    if (step == 255) {
      reassembly.reset();
      model.reset();
      CLUSTERD_ASSERT(reassembly.bytes() == 0);
      continue;
    }
    const int value = step % 16;
    Fragment fragment;
    fragment.incarnation = Incarnation(3);
    fragment.value = static_cast<std::uint64_t>(value / 2);
    fragment.number = script.byte();
    fragment.total = script.byte();
    fragment.bytes = std::string(script.chunk());
    // What decode_fragment lets through.
    if (fragment.bytes.empty() || fragment.number >= fragment.total) continue;
    model.add(value, fragment);
    const GroupMember sender{NodeId(1 + static_cast<std::uint32_t>(value) % 2), 7};
    const auto outcome = reassembly.add(sender, fragment);
    if (const auto* whole = std::get_if<std::string>(&outcome)) {
      CLUSTERD_ASSERT(model.of(value).pieces == fragment.total);
      CLUSTERD_ASSERT(model.of(value).bytes == *whole);
    }
    if (const auto* refused = std::get_if<Reassembly::Refused>(&outcome)) {
      fuzz::check_told(refused->reason);
    }
    CLUSTERD_ASSERT(reassembly.bytes() <= model.bytes());
  }
}
