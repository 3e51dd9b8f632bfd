#include "tests/sim/replay.h"

#include <memory>
#include <utility>

#include "clusterd/codec/recording.h"
#include "clusterd/engine/controller.h"
#include "tests/sim/storyteller.h"
#include "tests/sim/words.h"

namespace clusterd::sim {
namespace {

constexpr std::size_t kMostDifferences = 10;

std::string in_words(const Effects& effects, const ClusterState& state) {
  std::string text;
  for (const Effect& effect : effects) text += (text.empty() ? "" : "; ") + words(effect, state);
  return text.empty() ? "nothing" : text;
}

class Player {
 public:
  explicit Player(const ReplayOptions& options)
      : options_(options), teller_(options.say, options.every_step) {}

  // False: it cannot go on.
  bool play(const RecordedFile& file);
  [[nodiscard]] Replayed take() && { return std::move(done_); }

 private:
  bool begin(const RecordedFile& file, const RecordingHead& head);
  void step(const RecordedFile& file, const RecordedStep& recorded, bool last);
  void add_to_cut(const RecordedStep& recorded);
  void differ(std::string where);
  [[nodiscard]] bool inside() const {
    return done_.steps >= options_.from && done_.steps <= options_.to;
  }

  const ReplayOptions& options_;
  Storyteller teller_;
  Replayed done_;
  std::unique_ptr<Controller> controller_;
  std::uint64_t of_daemon_ = 0;  // its steps so far
  SegmentWriter cut_;
  Incarnation cut_of_;
};

void Player::differ(std::string where) {
  if (done_.differences.size() < kMostDifferences) done_.differences.push_back(std::move(where));
}

bool Player::begin(const RecordedFile& file, const RecordingHead& head) {
  if (head.product != product_version() && done_.warnings.empty()) {
    done_.warnings.push_back(file.name + " was recorded by version " + head.product + ", this is " +
                             product_version() + ": decisions may differ");
  }
  auto restored = Controller::restore(head.checkpoint);
  if (!restored) {
    done_.problem =
        file.name + ": this version does not understand the checkpoint of version " + head.product;
    return false;
  }
  const bool same = controller_ && controller_->self().incarnation == restored->self().incarnation;
  const bool follows = same && of_daemon_ == head.steps;
  if (same && !follows) done_.warnings.push_back("steps are missing before " + file.name);
  if (follows && controller_->checkpoint() != restored->checkpoint()) {
    differ(file.name + ": the replay has come to another state than its checkpoint");
  }
  controller_ = std::move(restored);
  of_daemon_ = head.steps;
  if (!follows && options_.say) teller_.begin(*controller_, head.product);
  return true;
}

void Player::add_to_cut(const RecordedStep& recorded) {
  if (done_.cut.empty()) {
    cut_of_ = controller_->self().incarnation;
    done_.cut = cut_.begin({product_version(), 0, controller_->checkpoint()});
  }
  if (cut_of_ == controller_->self().incarnation) done_.cut += cut_.add(recorded.told);
}

void Player::step(const RecordedFile& file, const RecordedStep& recorded, bool last) {
  ++done_.steps;
  ++of_daemon_;
  const bool cuts = options_.cut && inside();
  if (cuts) add_to_cut(recorded);
  const auto& [now, event] = recorded.told;
  const Effects effects = controller_->step(now, event);
  if (cuts && !effects.empty() && cut_of_ == controller_->self().incarnation) {
    done_.cut += cut_.add(Did{digest_of(effects)});
  }
  if (options_.say && inside()) teller_.tell(done_.steps, *controller_, now, event, effects);
  // Behind the last step nothing may stand because the daemon ended in it.
  const bool equal = recorded.did ? digest_of(effects) == *recorded.did : effects.empty() || last;
  if (!equal) {
    differ(file.name + ", step " + std::to_string(done_.steps) + ": " +
           words(event, controller_->state()) + ": recorded are " +
           (recorded.did ? "other effects" : "no effects") +
           ", here: " + in_words(effects, controller_->state()));
  }
}

bool Player::play(const RecordedFile& file) {
  auto parsed = parse_segment(file.bytes);
  if (const auto* problem = std::get_if<std::string>(&parsed)) {
    done_.problem = file.name + ": " + *problem;
    return false;
  }
  const auto& segment = std::get<Segment>(parsed);
  if (segment.torn != 0) {
    done_.warnings.push_back(file.name + ": its last " + std::to_string(segment.torn) +
                             " bytes are torn and left out");
  }
  if (!begin(file, segment.head)) return false;
  for (const RecordedStep& recorded : segment.steps) {
    step(file, recorded, &recorded == &segment.steps.back());
  }
  return true;
}

}  // namespace

const char* product_version() {
  return CLUSTERD_VERSION;
}

Replayed replay(const std::vector<RecordedFile>& files, const ReplayOptions& options) {
  Player player(options);
  for (const RecordedFile& file : files) {
    if (!player.play(file)) break;
  }
  return std::move(player).take();
}

}  // namespace clusterd::sim
