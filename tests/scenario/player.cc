#include "tests/scenario/player.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "clusterd/engine/report.h"
#include "tests/scenario/words.h"

namespace clusterd::scenario {
namespace {

using sim::SimTime;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kTraceLines = 1000000;

// ---- declarations
// --------------------------------------------------------------------------------

using VmSetters = std::map<std::string, std::function<void(VmDeclaration&, const std::string&)>>;

const VmSetters& vm_setters() {
  static const auto rules = [](VmDeclaration& vm) -> PlacementRules& {
    if (!vm.policy.placement) vm.policy.placement.emplace();
    return *vm.policy.placement;
  };
  static const auto restart = [](VmDeclaration& vm) -> RestartPolicy& {
    if (!vm.policy.restart) vm.policy.restart.emplace();
    return *vm.policy.restart;
  };
  static const VmSetters kSetters = {
      {"prefer", [](auto& vm, auto& v) { rules(vm).prefer.nodes = split(v, ','); }},
      {"allow", [](auto& vm, auto& v) { rules(vm).allow = name_set(v); }},
      {"avoid", [](auto& vm, auto& v) { rules(vm).avoid = name_set(v); }},
      {"away_from", [](auto& vm, auto& v) { rules(vm).away_from = name_set(v); }},
      {"together_with", [](auto& vm, auto& v) { rules(vm).together_with = name_set(v); }},
      {"requires", [](auto& vm, auto& v) { vm.policy.requires_ = name_set(v); }},
      {"priority",
       [](auto& vm, auto& v) { vm.policy.priority = static_cast<std::uint32_t>(number(v)); }},
      {"memory", [](auto& vm, auto& v) { vm.policy.memory = gibibytes(v); }},
      {"start_after", [](auto& vm, auto& v) { vm.policy.start_after = name_set(v); }},
      {"restarts",
       [](auto& vm, auto& v) { restart(vm).attempts = static_cast<std::uint32_t>(number(v)); }},
      {"relocations",
       [](auto& vm, auto& v) { restart(vm).relocations = static_cast<std::uint32_t>(number(v)); }},
      {"state",
       [](auto& vm, auto& v) {
         vm.policy.state =
             either(v, "running", "stopped") ? DesiredState::running : DesiredState::stopped;
       }},
  };
  return kSetters;
}

using NodeSetters =
    std::map<std::string, std::function<void(NodeDeclaration&, const std::string&)>>;

const NodeSetters& node_setters() {
  static const NodeSetters kSetters = {
      {"provides", [](auto& node, auto& v) { node.provides = name_set(v); }},
      {"role",
       [](auto& node, auto& v) {
         node.role = either(v, "backup", "worker") ? NodeRole::backup : NodeRole::worker;
       }},
      {"memory",
       [](auto& node, auto& v) {
         node.capacity = Resources{gibibytes(v), 32};
       }},
      // Levels are separated by '/', devices of one level by ','.
      {"fencing",
       [](auto& node, auto& v) {
         node.fencing.clear();
         for (const std::string& level : split(v, '/')) node.fencing.push_back(split(level, ','));
       }},
  };
  return kSetters;
}

template <class Setters, class Declaration>
void set_all(const Setters& setters, Declaration& declaration, const Words& words) {
  for (std::size_t i = 2; i < words.size(); ++i) {
    const auto [key, value] = key_and_value(words[i]);
    const auto setter = setters.find(key);
    if (setter == setters.end()) throw Failure("'" + words[0] + "' has no '" + key + "'");
    setter->second(declaration, value);
  }
}

}  // namespace

// ---- the file
// ------------------------------------------------------------------------------------

Player::Player() {
  options_.trace_lines = kTraceLines;
  options_.backups = 1;
  add_declaring();
  add_faults();
  add_world();
  add_operator();
  add_time();
}

Player::~Player() = default;

Played Player::play(const std::string& text) {
  Played played;
  std::istringstream in(text);
  std::size_t line_number = 0;
  bool failed = false;
  for (std::string line; std::getline(in, line);) {
    ++line_number;
    if (line.starts_with("  ")) continue;  // the timeline of an earlier play
    played.text += line + "\n";
    if (failed || line.empty() || line[0] == '#') continue;
    try {
      run(line);
    } catch (const Failure& failure) {
      failed = true;
      played.failures.push_back("line " + std::to_string(line_number) + ": " + failure.what());
    }
    tell_timeline(played.text);
    if (!failed && cluster_ && cluster_->violated()) {
      const auto& violation = *cluster_->checkers().violation();
      failed = true;
      played.failures.push_back("line " + std::to_string(line_number) + ": violates " +
                                violation.rule + ": " + violation.detail);
    }
  }
  if (!cluster_ && !failed) played.failures.push_back("it never says `found` or `boot`");
  return played;
}

void Player::run(const std::string& line) {
  const Words words = split(line);
  const auto command = commands_.find(words.front());
  if (command == commands_.end()) throw Failure("there is no command '" + words.front() + "'");
  command->second(words);
}

// Lines of the trace since the last command, with the time since the cluster was founded.
void Player::tell_timeline(std::string& text) {
  if (!cluster_) return;
  const auto& lines = cluster_->env().trace.lines();
  for (; told_ < lines.size(); ++told_) {
    std::int64_t whole = 0;
    std::int64_t micro = 0;
    int length = 0;
    std::sscanf(lines[told_].c_str(), "%" SCNd64 ".%" SCNd64 " %n", &whole, &micro, &length);
    const double at = static_cast<double>(whole * 1000000 + micro - zero_.count()) / 1e6;
    char time[32];
    std::snprintf(time, sizeof(time), "  %8.2f ", at);
    text += time + lines[told_].substr(static_cast<std::size_t>(length)) + "\n";
  }
}

sim::SimCluster& Player::cluster() const {
  if (!cluster_) throw Failure("say `found` or `boot` first");
  return *cluster_;
}

sim::SimNode& Player::node(const std::string& name) const {
  const std::uint32_t which = node_number(name);
  if (which < 1 || which > options_.nodes) throw Failure("there is no " + name);
  return cluster().node(which);
}

// ---- commands
// ------------------------------------------------------------------------------------

void Player::add_declaring() {
  commands_["cluster"] = [this](const Words& words) {
    for (std::size_t i = 1; i < words.size(); ++i) {
      const auto [key, value] = key_and_value(words[i]);
      const auto count = static_cast<std::uint32_t>(number(value));
      if (key == "nodes") {
        options_.nodes = count;
      } else if (key == "backups") {
        options_.backups = count;
      } else if (key == "vms") {
        options_.vms = count;
      } else if (key == "seed") {
        options_.seed = count;
      } else if (key == "arbiter") {
        options_.network.device_votes = count;
      } else if (key == "wait_for_all") {
        options_.network.wait_for_all = count != 0;
      } else {
        throw Failure("'cluster' has no '" + key + "'");
      }
    }
  };
  const auto keep = [this](const Words& words) { declared_.push_back(words); };
  commands_["vm"] = keep;
  commands_["node"] = keep;
  commands_["found"] = [this](const Words&) { found(); };
  commands_["boot"] = [this](const Words&) {
    cluster_ = std::make_unique<sim::SimCluster>(options_);
    for (std::uint32_t n = 1; n <= options_.nodes; ++n) cluster_->node(n).power_on();
    cluster_->run_for(seconds(30));
    told_ = cluster_->env().trace.lines().size();
    zero_ = cluster_->now();
  };
}

void Player::declare(Declarations& all, const Words& words) const {
  const std::string& name = word(words, 1);
  if (words[0] == "vm") {
    const auto vm = all.vms.find(name);
    if (vm == all.vms.end()) throw Failure("there is no VM " + name);
    set_all(vm_setters(), vm->second, words);
  } else {
    const auto host = all.nodes.find(name);
    if (host == all.nodes.end()) throw Failure("there is no node " + name);
    set_all(node_setters(), host->second, words);
  }
}

void Player::found() {
  options_.adjust = [this](Declarations& all) {
    for (const Words& words : declared_) declare(all, words);
  };
  cluster_ = std::make_unique<sim::SimCluster>(options_);
  const std::string problem = cluster_->found();
  if (problem.empty()) cluster_->run_for(seconds(40));  // agents answer, devices are calibrated
  told_ = cluster_->env().trace.lines().size();
  zero_ = cluster_->now();
  marked_ = cluster_->checkers().activity();
  if (!problem.empty()) throw Failure(problem);
}

void Player::add_faults() {
  const auto on_node = [this](const char* name, void (*act)(sim::SimNode&)) {
    commands_[name] = [this, act](const Words& words) {
      word(words, 1);
      for (std::size_t i = 1; i < words.size(); ++i) act(node(words[i]));
    };
  };
  on_node("cut", [](sim::SimNode& n) { n.power_off(); });
  on_node("power-on", [](sim::SimNode& n) { n.power_on(); });
  on_node("kill", [](sim::SimNode& n) { n.kill_daemon(); });
  on_node("kill-for-good", [](sim::SimNode& n) { n.kill_daemon(true); });
  on_node("stop-daemon", [](sim::SimNode& n) { n.stop_daemon(); });
  on_node("start-daemon", [](sim::SimNode& n) { n.start_daemon(); });
  on_node("hang-daemon", [](sim::SimNode& n) { n.freeze_daemon(); });
  on_node("wake-daemon", [](sim::SimNode& n) { n.thaw_daemon(); });
  on_node("freeze", [](sim::SimNode& n) { n.freeze(); });
  on_node("thaw", [](sim::SimNode& n) { n.thaw(); });
  on_node("flip-bit", [](sim::SimNode& n) { n.flip_bit(); });
  on_node("wipe", [](sim::SimNode& n) { n.store().wipe(); });
  on_node("corrupt", [](sim::SimNode& n) { n.store().corrupt(); });
  on_node("fill-disk", [](sim::SimNode& n) { n.store().set_full(true); });
  on_node("empty-disk", [](sim::SimNode& n) { n.store().set_full(false); });
  commands_["pull-cord"] = [this](const Words& w) { cluster().pull_cord(node_number(word(w, 1))); };
  commands_["plug-cord"] = [this](const Words& w) { cluster().plug_cord(node_number(word(w, 1))); };
  commands_["slow-disk"] = [this](const Words& w) {
    node(word(w, 1)).store().set_delay(span(word(w, 2)));
  };
  commands_["partition"] = [this](const Words& words) { partition(words); };
  commands_["heal"] = [this](const Words&) { cluster().heal(); };
  commands_["arbiter"] = [this](const Words& w) {
    cluster().network().set_arbiter(either(word(w, 1), "answers", "silent"));
  };
  commands_["bmc"] = [this](const Words& w) {
    sim::SimDevice& device = cluster().device(node_number(word(w, 1)));
    const std::string& what = word(w, 2);
    device.says_off = what == "lies";
    device.acts_late = what == "late";
    device.answers = what == "answers" || what == "lies";
    if (!device.answers && !device.acts_late && what != "silent") {
      throw Failure("a bmc is silent, late, answers or lies");
    }
  };
}

void Player::partition(const Words& words) {
  std::vector<std::vector<std::uint32_t>> sides;
  for (std::size_t i = 1; i < words.size(); ++i) {
    sides.emplace_back();
    for (const std::string& name : split(words[i], ',')) sides.back().push_back(node_number(name));
  }
  cluster().partition(sides);
}

void Player::add_world() {
  const auto in_guest = [this](const char* name, void (*act)(sim::SimHypervisor&, VmId)) {
    commands_[name] = [this, act](const Words& words) {
      const std::uint32_t vm = vm_number(word(words, 1));
      const auto on = cluster().active_on(vm);
      if (on.empty()) throw Failure("vm" + std::to_string(vm) + " runs nowhere");
      act(cluster().node(on.front()).hypervisor(), sim::vm_id(vm));
    };
  };
  in_guest("crash", [](sim::SimHypervisor& h, VmId vm) { h.crash(vm); });
  in_guest("shutdown", [](sim::SimHypervisor& h, VmId vm) { h.guest_shuts_down(vm); });
  in_guest("destroy", [](sim::SimHypervisor& h, VmId vm) { h.destroyed_by_hand(vm); });
  commands_["virsh-start"] = [this](const Words& w) {
    const VmId vm = sim::vm_id(vm_number(word(w, 1)));
    const bool began = node(word(w, 2)).hypervisor().start_by_hand(vm);
    cluster().env().trace.say([&] {
      return "virsh   " + word(w, 1) + " on " + word(w, 2) + (began ? " starts" : " is refused");
    });
  };
  commands_["libvirt"] = [this](const Words& w) {
    node(word(w, 1)).hypervisor().set_available(either(word(w, 2), "answers", "away"));
  };
  commands_["fail-starts"] = [this](const Words& w) {
    node(word(w, 1)).hypervisor().fail_next_starts(static_cast<int>(number(word(w, 2))));
  };
  // How long before the hook is asked, and from then to the answer.
  commands_["hang-start"] = [this](const Words& w) {
    node(word(w, 1)).hypervisor().hang_next_start(span(word(w, 2)), span(word(w, 3)));
  };
  commands_["stops"] = [this](const Words& w) {
    node(word(w, 1)).hypervisor().set_stop_hangs(either(word(w, 2), "hang", "work"));
  };
}

void Player::add_operator() {
  commands_["ask"] = [this](const Words& words) { ask(words); };
  // apply n1 vm vm3 prefer=n2
  commands_["apply"] = [this](const Words& words) {
    sim::SimNode& at = node(word(words, 1));
    if (!at.running()) throw Failure(words[1] + " has no daemon");
    const Configuration& config = at.state().config;
    Declarations all;
    all.vms = config.vms;
    all.nodes = config.nodes;
    const Words change(words.begin() + 2, words.end());
    declare(all, change);
    ApplyConfiguration apply;
    apply.base = config.version;
    if (word(change, 0) == "vm") apply.upsert.vms[change[1]] = all.vms.at(change[1]);
    if (word(change, 0) == "node") apply.upsert.nodes[change[1]] = all.nodes.at(change[1]);
    answer_ = cluster().ask(at.id(), apply);
  };
  commands_["delete"] = [this](const Words& words) {
    sim::SimNode& at = node(word(words, 1));
    if (!at.running()) throw Failure(words[1] + " has no daemon");
    ApplyConfiguration apply;
    apply.base = at.state().config.version;
    for (std::size_t i = 2; i < words.size(); ++i) {
      (words[i].starts_with("vm") ? apply.delete_vms : apply.delete_nodes).insert(words[i]);
    }
    answer_ = cluster().ask(at.id(), apply);
  };
}

// ask n1 start vm3, ask n1 confirm-dead n2 [--force], ask n1 accept n2, ask n1 init
void Player::ask(const Words& words) {
  static const std::map<std::string, VmOrderKind> kVmOrders = {{"start", VmOrderKind::start},
                                                               {"stop", VmOrderKind::stop},
                                                               {"restart", VmOrderKind::restart},
                                                               {"enable", VmOrderKind::enable},
                                                               {"disable", VmOrderKind::disable}};
  const NodeId at = node(word(words, 1)).id();
  const std::string& what = word(words, 2);
  if (what == "init") {
    answer_ = cluster().ask(at, InitCluster{"sim"});
    return;
  }
  const std::string& whom = word(words, 3);
  const bool force = words.size() > 4 && words[4] == "--force";
  if (const auto order = kVmOrders.find(what); order != kVmOrders.end()) {
    answer_ = cluster().ask(at, VmCommand{whom, order->second, true});
  } else if (what == "confirm-dead" || what == "fence") {
    const auto kind = what == "fence" ? NodeOrderKind::fence : NodeOrderKind::confirm_dead;
    answer_ = cluster().ask(at, NodeCommand{whom, kind, force});
  } else if (what == "accept") {
    answer_ = cluster().ask(at, RecoverCluster{whom});
  } else {
    throw Failure("nobody can be asked to '" + what + "'");
  }
}

void Player::add_time() {
  commands_["wait"] = [this](const Words& w) { cluster().run_for(span(word(w, 1))); };
  commands_["settle"] = [this](const Words& w) {
    if (!cluster().settle(span(word(w, 1)))) throw Failure(cluster().unsettled());
  };
  commands_["mark"] = [this](const Words&) { marked_ = cluster().checkers().activity(); };
  commands_["expect"] = [this](const Words& words) { expect(words); };
  commands_["until"] = [this](const Words& words) { until(words); };
}

// ---- expectations
// --------------------------------------------------------------------------------

void Player::expect(const Words& words) {
  const Words condition(words.begin() + 1, words.end());
  const std::string instead = check(condition);
  if (!instead.empty()) throw Failure("expected " + joined(condition) + ", but " + instead);
}

// until CONDITION within 30s
void Player::until(const Words& words) {
  if (words.size() < 4 || words[words.size() - 2] != "within") {
    throw Failure("until CONDITION within TIME");
  }
  const Words condition(words.begin() + 1, words.end() - 2);
  if (cluster().run_until([&] { return check(condition).empty(); }, span(words.back()))) return;
  if (cluster().violated()) return;
  throw Failure(joined(condition) + " did not come within " + words.back() + ": " +
                check(condition));
}

std::string Player::check(Words condition) const {
  const std::string first = word(condition, 0);
  if (first == "not") {
    condition.erase(condition.begin());
    return check(condition).empty() ? "it is so" : "";
  }
  if (first == "all" && word(condition, 1) == "run") {
    return cluster().all_run() ? "" : "they do not:\n" + cluster().describe();
  }
  if (first == "settled") return cluster().unsettled();
  if (first == "answer") {
    static const std::map<std::string, ReplyCode> kCodes = {{"done", ReplyCode::done},
                                                            {"refused", ReplyCode::refused},
                                                            {"unavailable", ReplyCode::unavailable},
                                                            {"unknown", ReplyCode::unknown}};
    const auto code = kCodes.find(word(condition, 1));
    if (code == kCodes.end()) throw Failure("an answer is done, refused, unavailable or unknown");
    const bool says = answer_.message.find(joined(condition, 2)) != std::string::npos;
    return code->second == answer_.code && says ? "" : "it was: " + answer_.message;
  }
  if (first.starts_with("vm")) return check_vm(condition);
  if (first.starts_with("n")) return check_node(condition);
  return check_count(condition);
}

// The newest established state, as `clusterctl status` tells it; without one the best any tells.
StatusReport Player::status() const {
  const sim::SimNode* best = cluster().authority();
  for (std::uint32_t n = 1; best == nullptr && n <= options_.nodes; ++n) {
    if (cluster().node(n).responsive()) best = &cluster().node(n);
  }
  if (best == nullptr) throw Failure("no daemon answers");
  return report_status(best->state(), best->local(), best->state().time);
}

// vm1 on n4 | vm1 nowhere | vm1 held by n1 | vm1 shows unknown
std::string Player::check_vm(const Words& condition) const {
  const std::uint32_t vm = vm_number(condition[0]);
  const std::string& what = word(condition, 1);
  if (what == "on" || what == "nowhere") {
    std::string where;
    for (const NodeId id : cluster().active_on(vm))
      where += (where.empty() ? "" : ",") + sim::name_of(id);
    const std::string wanted = what == "on" ? word(condition, 2) : "";
    return where == wanted ? "" : "it is " + (where.empty() ? "nowhere" : "on " + where);
  }
  if (what == "held") {
    const sim::SimNode* best = cluster().authority();
    if (best == nullptr) return "nobody has authority";
    std::string held;
    for (const auto& [host, sighting] : best->state().vms.at(sim::vm_id(vm)).holders) {
      held += (held.empty() ? "" : ",") + sim::name_of(host.node);
    }
    return held == word(condition, 3) ? "" : "it is held by '" + held + "'";
  }
  if (what == "shows") {
    for (const VmReport& told : status().vms) {
      if (told.name != condition[0]) continue;
      return told.state == word(condition, 2) ? "" : "it shows " + told.state + ": " + told.reason;
    }
    return "it is not shown at all";
  }
  throw Failure("a VM is on, nowhere, held by, or shows");
}

// n1 on | n1 off | n1 active | n1 shows unmanaged | n1 has the state
std::string Player::check_node(const Words& condition) const {
  const sim::SimNode& at = node(condition[0]);
  const std::string& what = word(condition, 1);
  if (what == "on" || what == "off") {
    return at.host().powered == (what == "on") ? "" : "it is not";
  }
  if (what == "active") {
    if (!at.running()) return "it has no daemon";
    return at.local().active && at.local().quorate ? "" : "it is not: " + at.local().waiting;
  }
  if (what == "waits") {
    if (!at.running()) return "it has no daemon";
    const std::string text = joined(condition, 2);
    return at.local().waiting.find(text) != std::string::npos ? "" : "'" + at.local().waiting + "'";
  }
  if (what == "shows") {
    for (const NodeReport& told : status().nodes) {
      if (told.name != condition[0]) continue;
      return told.state == word(condition, 2) ? "" : "it shows " + told.state + ": " + told.reason;
    }
    return "it is not shown at all";
  }
  throw Failure("a node is on, off, active, waits or shows");
}

// starts 3 | stops 0 | fences 1 | exits 0: since `found` or the last `mark`; alarms TEXT
std::string Player::check_count(const Words& condition) const {
  if (condition[0] == "alarm") {
    const std::string text = joined(condition, 1);
    std::string others;
    for (const std::string& alarm : status().alarms) {
      if (alarm.find(text) != std::string::npos) return "";
      others += "\n    " + alarm;
    }
    return "the alarms are:" + others;
  }
  const sim::Activity& now = cluster().checkers().activity();
  const std::map<std::string, std::uint64_t> counts = {{"starts", now.starts - marked_.starts},
                                                       {"stops", now.stops - marked_.stops},
                                                       {"fences", now.fences - marked_.fences},
                                                       {"exits", now.exits - marked_.exits}};
  const auto found = counts.find(condition[0]);
  if (found == counts.end()) throw Failure("nothing is known of '" + joined(condition) + "'");
  const std::uint64_t wanted = number(word(condition, 1));
  return found->second == wanted ? "" : "there were " + std::to_string(found->second);
}

}  // namespace clusterd::scenario
