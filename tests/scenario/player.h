// Plays a scenario file on a simulated cluster; docs/testing.md has the commands.
//
// A scenario reads as an incident timeline: commands, and below each of them, indented, what then
// happened. Playing it writes the timeline anew; the file is right if nothing differs and every
// `expect` and `until` held. Rewriting a file can therefore never bless a broken expectation.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clusterd/model/report.h"
#include "tests/scenario/words.h"
#include "tests/sim/cluster.h"

namespace clusterd::scenario {

struct Played {
  std::string text;                   // the file with the timeline as it was now
  std::vector<std::string> failures;  // "line 12: expected vm1 on n4, but ..."
};

class Player {
 public:
  Player();
  ~Player();

  // `text` is the whole file. A line that cannot be understood, an expectation that does not hold
  // and a rule that is violated are failures; playing stops at the first.
  [[nodiscard]] Played play(const std::string& text);

 private:
  using Command = std::function<void(const Words&)>;

  void add_declaring();
  void add_faults();
  void add_network();
  void add_devices();
  void add_guests();
  void add_libvirt();
  void add_world();
  void add_operator();
  void add_time();
  void run(const std::string& line);
  void tell_timeline(std::string& text);

  void declare(Declarations& all, const Words& words) const;
  void make_cluster();
  void begin_timeline();
  void found();
  void mark();
  void when(const Words& words);
  void ordered(const std::string& bytes);  // a message has its place; only its sender delivered it
  void operate_device(sim::SimDevice& device, const Words& words);
  void apply(const Words& words);
  void lie(const Words& words);
  void ask(const Words& words);
  void partition(const Words& words);
  void expect(const Words& words);
  void until(const Words& words);

  // Empty if it holds, otherwise what is the case instead.
  [[nodiscard]] std::string check(Words condition) const;
  [[nodiscard]] std::string check_vm(const Words& condition) const;
  [[nodiscard]] std::string check_node(const Words& condition) const;
  [[nodiscard]] std::string check_count(const Words& condition) const;
  [[nodiscard]] StatusReport status() const;
  // The newest established state, without one the best that any daemon has; none: nullptr.
  [[nodiscard]] const ClusterState* newest() const;
  [[nodiscard]] std::string lost_reserve() const;

  sim::SimCluster& cluster() const;
  sim::SimNode& node(const std::string& name) const;

  std::map<std::string, Command> commands_;
  sim::SimOptions options_;
  std::vector<Words> declared_;
  std::unique_ptr<sim::SimCluster> cluster_;
  sim::SimTime zero_{0};    // the timeline's beginning
  std::size_t told_ = 0;    // lines of the trace that stand in the file already
  sim::Activity marked_;    // counts since here
  std::uint64_t marked_event_ = 0;  // of the history; told since here
  struct Awaited {
    std::size_t kind = 0;
    std::string then;
  };
  std::optional<Awaited> awaited_;
  ControlReply answer_;     // to the last `ask`
};

}  // namespace clusterd::scenario
