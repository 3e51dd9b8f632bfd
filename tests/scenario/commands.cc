// What a scenario does to its cluster: faults, guests and libvirt, operators.
#include "clusterd/codec/wire.h"
#include "tests/scenario/player.h"

namespace clusterd::scenario {

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
  on_node("stop-corosync", [](sim::SimNode& n) { n.stop_corosync(); });
  on_node("freeze", [](sim::SimNode& n) { n.freeze(); });
  on_node("thaw", [](sim::SimNode& n) { n.thaw(); });
  on_node("flip-bit", [](sim::SimNode& n) { n.flip_bit(); });
  on_node("wipe", [](sim::SimNode& n) { n.store().wipe(); });
  on_node("corrupt", [](sim::SimNode& n) { n.store().corrupt(); });
  on_node("fill-disk", [](sim::SimNode& n) { n.store().set_full(true); });
  on_node("empty-disk", [](sim::SimNode& n) { n.store().set_full(false); });
  on_node("break-disk", [](sim::SimNode& n) { n.store().set_broken(true); });
  on_node("mend-disk", [](sim::SimNode& n) { n.store().set_broken(false); });
  commands_["slow-disk"] = [this](const Words& w) {
    node(word(w, 1)).store().set_delay(span(word(w, 2)));
  };
  // The disk has lost this many records that it had acknowledged.
  commands_["cut-tail"] = [this](const Words& w) {
    node(word(w, 1)).store().cut_acked_tail(number(word(w, 2)));
  };
  // Somebody puts another box in the place of a host that is off.
  commands_["replace-machine"] = [this](const Words& w) {
    sim::SimNode& which = node(word(w, 1));
    which.store().wipe();
    sim::SimHost& host = cluster().env().world.host(which.id());
    host.machine = MachineId{cluster().env().uuid()};
    host.guarded.clear();
  };
  commands_["clock"] = [this](const Words& w) {
    const std::string& by = word(w, 2);
    const Duration size = std::chrono::duration_cast<Duration>(span(by.substr(1)));
    node(word(w, 1)).step_wall_clock(either(by.substr(0, 1), "+", "-") ? size : -size);
  };
  commands_["clock-speed"] = [this](const Words& w) {
    node(word(w, 1)).set_clock_speed(static_cast<std::int64_t>(number(word(w, 2))));
  };
  add_network();
  add_devices();
}

void Player::add_network() {
  commands_["partition"] = [this](const Words& words) { partition(words); };
  commands_["heal"] = [this](const Words&) { cluster().heal(); };
  commands_["disturb"] = [this](const Words& w) {
    cluster().network().disturb(node(word(w, 1)).id());
  };
  commands_["flow"] = [this](const Words& w) {
    cluster().network().set_flow(node(word(w, 1)).id(), either(word(w, 2), "open", "closed"));
  };
  commands_["arbiter"] = [this](const Words& w) {
    cluster().network().set_arbiter(either(word(w, 1), "answers", "silent"));
  };
  commands_["garbage"] = [this](const Words& w) {
    const auto sent = cluster().network().multicast(node(word(w, 1)).id(), "CLDM?? not a message");
    if (sent != SendStatus::queued) throw Failure("it cannot be sent now");
  };
  commands_["lie"] = [this](const Words& words) { lie(words); };
}

// lie n2 start vm1 n3 [late], lie n2 fence n3, lie n2 confirm-dead n3, lie n2 activate, lie n2
// advance 3h: a message that n2 would never send; `late`: of the epoch before this one. The boot
// confirmed dead is one that n3 never had; the Activate calls all synced; the Advance is stamped
// that much later.
void Player::lie(const Words& words) {
  const sim::SimNode& liar = node(word(words, 1));
  if (!liar.running()) throw Failure(words[1] + " has no daemon");
  const std::string& what = word(words, 2);
  const ClusterState& state = liar.state();
  const auto own = state.view.members.find(liar.id());
  Message message{state.position.epoch,
                  own == state.view.members.end() ? Incarnation(1) : own->second.incarnation,
                  state.time, Body{}};
  if (what == "activate") {
    Activate activate;
    activate.epoch = state.position.epoch.next();
    for (std::uint32_t number = 1; number <= cluster().options().nodes; ++number) {
      Member& member = activate.members[NodeId(number)];
      member.boot = cluster().node(number).host().boot;
      member.incarnation = Incarnation(1);
      member.phase = MemberPhase::synced;
    }
    message.body = activate;
  } else if (what == "advance") {
    message.stamp = state.time + std::chrono::duration_cast<Duration>(span(word(words, 3)));
    message.body = Advance{};
  } else {
    const sim::SimNode& whom = node(word(words, what == "start" ? 4 : 3));
    const Host target{whom.id(), whom.host().boot};
    if (what == "confirm-dead") {
      const Host never{whom.id(), BootId{cluster().env().uuid()}};
      message.body = OrderNode{never, NodeOrderKind::confirm_dead, true};
    } else if (either(what, "start", "fence")) {
      const VmId vm = sim::vm_id(vm_number(word(words, 3)));
      message.body = StartVm{vm, state.vms.at(vm).generation, target, Cause::desired};
    } else {
      message.body = OperatePower{PowerOpKind::fence, target, liar.id()};
    }
  }
  if (words.back() == "late") message.epoch = Epoch(message.epoch.value - 1);
  const auto sent = cluster().network().multicast(liar.id(), encode(message));
  if (sent != SendStatus::queued) throw Failure("it cannot be sent now");
}

void Player::add_devices() {
  commands_["pull-cord"] = [this](const Words& w) { cluster().pull_cord(node_number(word(w, 1))); };
  commands_["plug-cord"] = [this](const Words& w) { cluster().plug_cord(node_number(word(w, 1))); };
  // bmc n1 silent: short for device bmc-n1 silent
  commands_["bmc"] = [this](const Words& w) {
    operate_device(cluster().device(node_number(word(w, 1))), w);
  };
  commands_["device"] = [this](const Words& w) {
    if (!cluster().devices().knows(word(w, 1))) throw Failure("there is no device " + w[1]);
    operate_device(cluster().devices().device(w[1]), w);
  };
}

void Player::operate_device(sim::SimDevice& device, const Words& words) {
  const std::string& what = word(words, 2);
  if (what == "on" || what == "off") {
    cluster().devices().turn(device, what == "on");
  } else if (what == "takes") {
    device.latency = span(word(words, 3));
  } else if (what == "wired") {
    device.target = node(word(words, 3)).id();
  } else if (what == "agent") {
    device.agent_problem = joined(words, 3);
  } else {
    device.says_off = what == "lies";
    device.acts_late = what == "late";
    device.ignores = what == "ignores";
    device.answers = what == "answers" || what == "lies" || what == "ignores";
    if (what == "answers") device.agent_problem.clear();
    if (!device.answers && !device.acts_late && what != "silent") {
      throw Failure("a device is silent, late, answers, ignores, lies, on, off, takes or wired");
    }
  }
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
  in_guest("suspend",
           [](sim::SimHypervisor& h, VmId vm) { h.set_domain_state(vm, DomainState::paused); });
  in_guest("panic",
           [](sim::SimHypervisor& h, VmId vm) { h.set_domain_state(vm, DomainState::crashed); });
  in_guest("resume",
           [](sim::SimHypervisor& h, VmId vm) { h.set_domain_state(vm, DomainState::running); });
  add_guests();
  // storage n1 lost: whatever writes there is paused by an I/O error; back: it is resumed.
  commands_["storage"] = [this](const Words& w) {
    const bool back = either(word(w, 2), "back", "lost");
    sim::SimNode& at = node(word(w, 1));
    for (const auto& [vm, domain] : at.host().domains) {
      at.hypervisor().set_domain_state(vm,
                                       back ? DomainState::running : DomainState::paused_io_error);
    }
  };
  add_libvirt();
}

// What happens inside guests; their checks notice it.
void Player::add_guests() {
  const auto in_guest = [this](const char* name, void (*act)(sim::SimProber&, VmId)) {
    commands_[name] = [this, act](const Words& words) {
      const std::uint32_t vm = vm_number(word(words, 1));
      const auto on = cluster().active_on(vm);
      if (on.empty()) throw Failure("vm" + std::to_string(vm) + " runs nowhere");
      act(cluster().node(on.front()).prober(), sim::vm_id(vm));
    };
  };
  in_guest("hang", [](sim::SimProber& p, VmId vm) { p.set_hung(vm, true); });
  in_guest("go-on", [](sim::SimProber& p, VmId vm) { p.set_hung(vm, false); });
  in_guest("kill-agent", [](sim::SimProber& p, VmId vm) { p.set_agent_dead(vm, true); });
  in_guest("kill-app", [](sim::SimProber& p, VmId vm) { p.set_app_dead(vm, true); });
  in_guest("break-app", [](sim::SimProber& p, VmId vm) { p.break_app(vm, sim::SimTime::max()); });
  commands_["mend-app"] = [this](const Words& w) {
    cluster().env().broken_apps[sim::vm_id(vm_number(word(w, 1)))] = cluster().now();
  };
  in_guest("reboot-guest", [](sim::SimProber& p, VmId vm) { p.reboot(vm, ""); });
  in_guest("watchdog-fires",
           [](sim::SimProber& p, VmId vm) { p.reboot(vm, "its watchdog reset it"); });
  // stall n1 begins: all guests of the host stand still; ends: they go on.
  commands_["stall"] = [this](const Words& w) {
    const bool begins = either(word(w, 2), "begins", "ends");
    sim::SimNode& at = node(word(w, 1));
    for (const auto& [vm, domain] : at.host().domains) at.prober().set_hung(vm, begins);
  };
}

void Player::add_libvirt() {
  // virsh-start vm1 n2 [past-the-hook]
  commands_["virsh-start"] = [this](const Words& w) {
    const VmId vm = sim::vm_id(vm_number(word(w, 1)));
    const auto hook = w.size() > 3 && w[3] == "past-the-hook" ? sim::SimHypervisor::Hook::bypassed
                                                              : sim::SimHypervisor::Hook::asked;
    const bool began = node(word(w, 2)).hypervisor().start_by_hand(vm, hook);
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
  commands_["slow-looks"] = [this](const Words& w) {
    node(word(w, 1)).hypervisor().set_look_delay(span(word(w, 2)));
  };
}

void Player::add_operator() {
  commands_["ask"] = [this](const Words& words) { ask(words); };
  commands_["apply"] = [this](const Words& words) { apply(words); };
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
  // rename n1 vm1 web: the same domain under another name
  commands_["rename"] = [this](const Words& words) {
    sim::SimNode& at = node(word(words, 1));
    if (!at.running()) throw Failure(words[1] + " has no daemon");
    const Configuration& config = at.state().config;
    ApplyConfiguration apply;
    apply.base = config.version;
    apply.upsert.vms[word(words, 3)] = config.vms.at(word(words, 2));
    apply.delete_vms.insert(words[2]);
    answer_ = cluster().ask(at.id(), apply);
  };
}

// apply n1 [base=2] vm vm3 prefer=n2; a VM that is not declared yet is added.
void Player::apply(const Words& words) {
  sim::SimNode& at = node(word(words, 1));
  if (!at.running()) throw Failure(words[1] + " has no daemon");
  const Configuration& config = at.state().config;
  ApplyConfiguration apply;
  apply.base = config.version;
  const bool old = word(words, 2).starts_with("base=");
  if (old) apply.base = ConfigVersion(number(words[2].substr(5)));
  const Words change(words.begin() + (old ? 3 : 2), words.end());
  const std::string& name = word(change, 1);
  Declarations all;
  all.vms = config.vms;
  all.nodes = config.nodes;
  if (change[0] == "vm" && !all.vms.contains(name)) {
    auto [vm, xml] = cluster().new_vm(vm_number(name));
    apply.upsert.domain_xml[vm.domain.xml] = xml;
    all.vms[name] = vm;
  }
  declare(all, change);
  if (change[0] == "vm") apply.upsert.vms[name] = all.vms.at(name);
  if (change[0] == "node") apply.upsert.nodes[name] = all.nodes.at(name);
  answer_ = cluster().ask(at.id(), apply);
}

// ask n1 start vm3, ask n1 confirm-dead n2 [--force], ask n1 accept n2, ask n1 init. With --no-wait
// at the end the answer is not waited for.
void Player::ask(const Words& words) {
  static const std::map<std::string, VmOrderKind> kVmOrders = {{"start", VmOrderKind::start},
                                                               {"stop", VmOrderKind::stop},
                                                               {"restart", VmOrderKind::restart},
                                                               {"enable", VmOrderKind::enable},
                                                               {"disable", VmOrderKind::disable}};
  static const std::map<std::string, NodeOrderKind> kNodeOrders = {
      {"fence", NodeOrderKind::fence},
      {"confirm-dead", NodeOrderKind::confirm_dead},
      {"cancel-fence", NodeOrderKind::cancel_fence}};
  const NodeId at = node(word(words, 1)).id();
  const std::string& what = word(words, 2);
  if (what == "init") {
    answer_ = cluster().ask(at, InitCluster{"sim"});
    return;
  }
  if (what == "disarm" || what == "arm") {
    ClusterCommand command{what == "arm" ? ClusterOrderKind::arm : ClusterOrderKind::disarm, ""};
    if (words.back() == "--no-wait") {
      cluster().send(at, command);
    } else {
      command.reason = joined(words, 3);
      answer_ = cluster().ask(at, command);
    }
    return;
  }
  const std::string& whom = word(words, 3);
  const bool force = words.size() > 4 && words[4] == "--force";
  const bool wait = words.back() != "--no-wait";
  const auto say = [&](ControlRequest request) {
    answer_ = ControlReply{ReplyCode::unknown, "not waited for", "", false};
    if (wait) {
      answer_ = cluster().ask(at, std::move(request));
    } else {
      cluster().send(at, std::move(request));
    }
  };
  if (const auto order = kVmOrders.find(what); order != kVmOrders.end()) {
    say(VmCommand{whom, order->second, true});
  } else if (const auto kind = kNodeOrders.find(what); kind != kNodeOrders.end()) {
    say(NodeCommand{whom, kind->second, force});
  } else if (what == "accept") {
    say(RecoverCluster{whom});
  } else {
    throw Failure("nobody can be asked to '" + what + "'");
  }
}

}  // namespace clusterd::scenario
