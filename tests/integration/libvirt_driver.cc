// libvirt-probe: walks LibvirtHypervisor through real libvirt and QEMU, prints what it measured,
// and exits 0 if every step held. It is run inside a lab node, as root, beside a libvirtd of its
// own (it stops, kills and restarts that libvirtd), with the hook installed before libvirtd began.
//
//   libvirt-probe [--kernel VMLINUX --initrd ARCHIVE]
//
// With a guest that has an agent and an ACPI button the guest's steps run, too; without, they are
// reported as not run. Hook scripts named aa-stall and zz-stall that wait while the file
// /run/hook-stall.{aa,zz}.GUEST.OPERATION exists stand for a hung host: they run before and after
// the real hook.
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <signal.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <functional>
#include <mutex>
#include <thread>

#include "resource-agents/libvirt/libvirt_hypervisor.h"
#include "resource-agents/libvirt/process_scan.h"

namespace clusterd {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

class EventQueue final : public EventSink {
 public:
  void post(Event event) override {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    changed_.notify_all();
  }
  // The next event of type T that is wanted; others of that type are dropped, other types kept.
  template <class T>
  std::optional<T> next(Duration patience, const std::function<bool(const T&)>& wanted) {
    std::unique_lock lock(mutex_);
    const auto limit = Clock::now() + patience;
    for (;;) {
      for (auto it = events_.begin(); it != events_.end();) {
        const auto* found = std::get_if<T>(&*it);
        if (found == nullptr) {
          ++it;
          continue;
        }
        const T event = *found;
        it = events_.erase(it);
        if (wanted(event)) return event;
      }
      if (changed_.wait_until(lock, limit) == std::cv_status::timeout) return std::nullopt;
    }
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    events_.clear();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Event> events_;
};

struct Options {
  std::string kernel;
  std::string initrd;
};

VmId vm(std::uint8_t n) {
  VmId id;
  id.uuid.bytes = {0xc1, 0x05, 0x7e, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, n};
  return id;
}
std::string name_of(VmId id) {
  return "probe" + std::to_string(id.uuid.bytes[15]);
}

std::string domain_xml(VmId id, const Options& options) {
  std::string os = "<os><type arch='x86_64' machine='pc'>hvm</type>";
  if (!options.kernel.empty()) {
    os += "<kernel>" + options.kernel + "</kernel><initrd>" + options.initrd +
          "</initrd><cmdline>console=ttyS0 nokaslr loglevel=0</cmdline>";
  }
  return "<domain type='qemu'><name>" + name_of(id) + "</name><uuid>" + id.str() +
         "</uuid><memory unit='MiB'>112</memory><vcpu>1</vcpu>" + os +
         "</os><features><acpi/></features><cpu mode='custom' match='exact'><model>qemu64"
         "</model></cpu><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>"
         "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
         "<memballoon model='none'/></devices></domain>";
}

pid_t libvirtd_pid() {
  std::ifstream file("/run/libvirtd.pid");
  pid_t pid = 0;
  file >> pid;
  return pid;
}
pid_t qemu_pid(VmId id) {
  const auto found = libvirt::processes_by_uuid();
  if (!found || found.value().count(id) == 0) return 0;
  return found.value().at(id);
}

const char* shown(const std::optional<DomainObservation>& seen) {
  if (!seen) return "unknown";
  switch (seen->state) {
    case DomainState::absent:
      return "absent";
    case DomainState::running:
      return "running";
    case DomainState::paused:
      return "paused";
    case DomainState::paused_io_error:
      return "paused by an I/O error";
    case DomainState::paused_incoming:
      return "paused, incoming or starting";
    case DomainState::shutting_down:
      return "shutting down";
    case DomainState::crashed:
      return "crashed";
  }
  return "?";
}

class Walkthrough {
 public:
  explicit Walkthrough(Options options) : options_(std::move(options)) { reconnect(); }

  bool run();

 private:
  void reconnect();
  void check(bool held, const std::string& what) {
    std::printf("%s %s\n", held ? "ok  " : "FAIL", what.c_str());
    std::fflush(stdout);
    failures_ += held ? 0 : 1;
  }
  void figure(const std::string& what, double value) {
    std::printf("     %-58s %7.3f s\n", what.c_str(), value);
  }
  OpId next_op() { return {Epoch(1), LogIndex(++index_)}; }
  OpId start(VmId id, Duration timeout = 30s) {
    const OpId op = next_op();
    hypervisor_->start({op, id, name_of(id), Generation(1), domain_xml(id, options_), timeout});
    return op;
  }
  std::optional<VmOperationEnded> ended(OpId op, Duration patience = 40s) {
    return events_.next<VmOperationEnded>(patience, [op](const auto& e) { return e.op == op; });
  }
  bool ended_with(OpId op, Outcome outcome) {
    const auto event = ended(op);
    if (event && event->outcome != outcome) std::printf("     %s\n", event->detail.c_str());
    return event && event->outcome == outcome;
  }
  OpId stop(VmId id, Duration shutdown, Duration destroy = 30s) {
    const OpId op = next_op();
    hypervisor_->stop({op, id, shutdown, destroy});
    return op;
  }
  std::optional<DomainObservation> look(VmId id) {
    hypervisor_->look_up({id, ++look_});
    return answered(look_);
  }
  std::optional<DomainObservation> revoke_and_look(OpId op, VmId id) {
    hypervisor_->revoke_and_look({op, id, ++look_});
    return answered(look_);
  }
  std::optional<DomainObservation> answered(std::uint64_t number) {
    const auto event = events_.next<LookedUp>(15s, [=](const auto& e) { return e.look == number; });
    if (!event) std::printf("FAIL a look was not answered\n"), ++failures_;
    return event ? event->found : std::nullopt;
  }
  bool is(const std::optional<DomainObservation>& seen, DomainState state) {
    return seen && seen->state == state;
  }
  std::optional<DomainChanged> changed(VmId id, StopCause cause, Duration patience = 10s) {
    return events_.next<DomainChanged>(
        patience, [=](const auto& e) { return e.vm == id && e.cause == cause; });
  }
  // A create behind the cluster's back; the error's text, or empty if it worked.
  std::string create_by_hand(VmId id) {
    const auto connection = virConnectOpen("qemu:///system");
    const auto domain = virDomainCreateXML(connection, domain_xml(id, options_).c_str(), 0);
    const std::string error = domain == nullptr ? virGetLastErrorMessage() : "";
    if (domain != nullptr) virDomainFree(domain);
    virConnectClose(connection);
    return error;
  }

  void one_start_and_kill();
  void parallel(std::uint8_t count);
  void stop_of_a_deaf_guest();
  void paused_and_signalled();
  void hook_refuses();
  void create_hangs_behind_the_hook();
  void create_hangs_before_the_hook();
  void libvirtd_hangs();
  void libvirtd_restarts();
  void guest_with_agent();

  Options options_;
  EventQueue events_;
  std::unique_ptr<LibvirtHypervisor> hypervisor_;
  std::uint64_t index_ = 0;
  std::uint64_t look_ = 0;
  int failures_ = 0;
};

void Walkthrough::reconnect() {
  hypervisor_.reset();
  events_.clear();
  LibvirtOptions options;
  options.virt_type = "qemu";
  options.log = [](const std::string& line) { std::printf("     log: %s\n", line.c_str()); };
  options.look_timeout = 2s;
  const auto begun = Clock::now();
  hypervisor_ = std::make_unique<LibvirtHypervisor>(options, events_);
  const auto up =
      events_.next<HypervisorConnection>(15s, [](const auto& event) { return event.up; });
  check(up.has_value(), "the connection comes up");
  figure("until connected", seconds_since(begun));
}

void Walkthrough::one_start_and_kill() {
  auto begun = Clock::now();
  const OpId op = start(vm(1));
  check(ended_with(op, Outcome::done), "a start is done");
  figure("one start, order to answer", seconds_since(begun));
  begun = Clock::now();
  const auto seen = look(vm(1));
  figure("one look", seconds_since(begun));
  check(is(seen, DomainState::running) && seen->started_by == op,
        "a look shows it running, with its operation");
  hypervisor_->list({7, {vm(1), vm(2)}});
  const auto listed = events_.next<DomainsListed>(15s, [](const auto&) { return true; });
  check(listed && listed->ok && listed->domains.size() == 1 && listed->facts.total.memory > 0,
        "the list has it and the host's size");
  if (listed) {
    std::printf("     host: %llu MiB, %u cpus, %s; problem: '%s'\n",
                static_cast<unsigned long long>(listed->facts.total.memory >> 20),
                listed->facts.total.vcpus, listed->facts.cpu_model.c_str(),
                listed->facts.problem.c_str());
    const HostFacts& facts = listed->facts;
    check(facts.machines.contains("pc") && facts.cpu_models.contains("qemu64") &&
              facts.cpu_features != Digest{},
          "and its machine types, usable CPU models and host-model");
  }
  events_.clear();
  begun = Clock::now();
  ::kill(qemu_pid(vm(1)), SIGKILL);
  check(changed(vm(1), StopCause::failed).has_value(), "a killed QEMU is told as failed");
  figure("kill -9 of QEMU to event", seconds_since(begun));
  check(is(look(vm(1)), DomainState::absent), "and then found absent");
  figure("kill -9 of QEMU to 'absent'", seconds_since(begun));
}

void Walkthrough::parallel(std::uint8_t count) {
  const auto begun = Clock::now();
  for (std::uint8_t n = 0; n < count; ++n) start(vm(static_cast<std::uint8_t>(10 + n)));
  int done = 0;
  for (std::uint8_t n = 0; n < count; ++n) {
    const auto event = events_.next<VmOperationEnded>(60s, [](const auto&) { return true; });
    if (event && event->outcome == Outcome::done) ++done;
    if (n == 0) figure(std::to_string(count) + " parallel starts, first", seconds_since(begun));
  }
  figure(std::to_string(count) + " parallel starts, last", seconds_since(begun));
  check(done == count, std::to_string(count) + " parallel starts are done");
  const auto stopping = Clock::now();
  for (std::uint8_t n = 0; n < count; ++n) stop(vm(static_cast<std::uint8_t>(10 + n)), 0s);
  done = 0;
  for (std::uint8_t n = 0; n < count; ++n) {
    const auto event = events_.next<VmOperationEnded>(60s, [](const auto&) { return true; });
    if (event && event->outcome == Outcome::done) ++done;
  }
  figure(std::to_string(count) + " parallel destroys, last", seconds_since(stopping));
  check(done == count, std::to_string(count) + " parallel stops are done");
}

void Walkthrough::stop_of_a_deaf_guest() {
  Options bare;
  std::swap(bare, options_);  // no operating system: nobody hears the button
  check(ended_with(start(vm(2)), Outcome::done), "a guest without system starts");
  std::swap(bare, options_);
  const auto begun = Clock::now();
  check(ended_with(stop(vm(2), 2s), Outcome::done), "a deaf guest is destroyed after its time");
  figure("stop with 2 s for a deaf guest", seconds_since(begun));
  check(is(look(vm(2)), DomainState::absent), "and is absent");
}

void Walkthrough::paused_and_signalled() {
  check(ended_with(start(vm(3)), Outcome::done), "a start is done");
  events_.clear();
  const auto connection = virConnectOpen("qemu:///system");
  const auto domain = virDomainLookupByUUID(connection, vm(3).uuid.bytes.data());
  virDomainSuspend(domain);
  check(changed(vm(3), StopCause::none).has_value(), "a suspend is told");
  check(is(look(vm(3)), DomainState::paused), "paused is not running");
  virDomainResume(domain);
  virDomainFree(domain);
  virConnectClose(connection);
  ::kill(qemu_pid(vm(3)), SIGTERM);
  check(changed(vm(3), StopCause::destroyed).has_value(),
        "a SIGTERM to QEMU is no shutdown by the guest");
  check(is(look(vm(3)), DomainState::absent), "and it is gone");
}

void Walkthrough::hook_refuses() {
  check(create_by_hand(vm(4)).empty(), "what is not protected may be created by hand");
  check(ended_with(stop(vm(4), 0s), Outcome::done), "and stopped");
  check(hypervisor_->protect(vm(4)).ok(), "protect");
  const std::string error = create_by_hand(vm(4));
  check(error.find("clusterd") != std::string::npos, "the hook refuses it without a grant");
  std::printf("     %s\n", error.c_str());
  check(ended_with(start(vm(4)), Outcome::done), "our start has a grant");
  check(ended_with(stop(vm(4), 0s), Outcome::done), "stop");
  check(!create_by_hand(vm(4)).empty(), "the grant is used up");
  const OpId op = next_op();
  check(is(revoke_and_look(op, vm(4)), DomainState::absent), "revoke, then absent");
  hypervisor_->start({op, vm(4), name_of(vm(4)), Generation(1), domain_xml(vm(4), options_), 9s});
  check(ended_with(op, Outcome::failed_without_effect), "a revoked operation cannot start it");
}

// Trace 8.1: the create hangs past the hook's last question. It must never be taken for absent.
void Walkthrough::create_hangs_behind_the_hook() {
  const std::string stall = "/run/hook-stall.zz." + name_of(vm(5)) + ".start";
  check(hypervisor_->protect(vm(5)).ok(), "protect");
  std::ofstream(stall) << "x";
  auto begun = Clock::now();
  const OpId op = start(vm(5), 1s);
  check(ended_with(op, Outcome::unknown), "a hanging create is unknown");
  figure("a start with timeout 1 s, order to unknown", seconds_since(begun));
  check(hypervisor_->stuck_threads() == 1, "one thread is counted as stuck");
  begun = Clock::now();
  check(is(look(vm(1)), DomainState::absent), "looks at other VMs go on");
  figure("look at another VM meanwhile", seconds_since(begun));
  check(ended_with(start(vm(6)), Outcome::done), "starts of other VMs go on");
  const auto seen = revoke_and_look(op, vm(5));
  check(!is(seen, DomainState::absent), "revoke and look does not say absent");
  std::printf("     it says %s\n", shown(seen));
  events_.clear();
  ::unlink(stall.c_str());
  bool running = false;
  while (!running && changed(vm(5), StopCause::none, 20s)) {
    running = is(look(vm(5)), DomainState::running);
  }
  check(running, "let go, it runs after all, and an event tells when to look");
  while (hypervisor_->stuck_threads() > 0 && changed(vm(5), StopCause::none, 20s)) {
  }
  check((!events_.next<VmOperationEnded>(0s, [](const auto&) { return true; })),
        "the operation is not answered a second time");
  check(hypervisor_->stuck_threads() == 0, "no thread is stuck any more");
  check(ended_with(stop(vm(5), 0s), Outcome::done), "stop");
  check(ended_with(stop(vm(6), 0s), Outcome::done), "stop");
}

// The create hangs in front of the hook: after revoke it can never take effect.
void Walkthrough::create_hangs_before_the_hook() {
  const std::string stall = "/run/hook-stall.aa." + name_of(vm(7)) + ".prepare";
  check(hypervisor_->protect(vm(7)).ok(), "protect");
  std::ofstream(stall) << "x";
  const OpId op = start(vm(7), 1s);
  check(ended_with(op, Outcome::unknown), "a hanging create is unknown");
  const auto seen = revoke_and_look(op, vm(7));
  std::printf("     meanwhile: %s\n", shown(seen));
  ::unlink(stall.c_str());
  std::this_thread::sleep_for(2s);
  check(is(revoke_and_look(op, vm(7)), DomainState::absent), "then the hook refuses it: absent");
  check(qemu_pid(vm(7)) == 0, "and there is no process");
}

void Walkthrough::libvirtd_hangs() {
  check(hypervisor_->protect(vm(8)).ok(), "protect");
  ::kill(libvirtd_pid(), SIGSTOP);
  auto begun = Clock::now();
  const OpId op = start(vm(8), 1s);
  check(ended_with(op, Outcome::unknown), "with libvirtd stopped a start is unknown");
  figure("order to unknown, timeout 1 s", seconds_since(begun));
  begun = Clock::now();
  check(!revoke_and_look(op, vm(8)), "a look says that it does not know");
  figure("order to nullopt, timeout 2 s", seconds_since(begun));
  begun = Clock::now();
  const auto down = events_.next<HypervisorConnection>(40s, [](const auto& e) { return !e.up; });
  check(down.has_value(), "the keepalive tells that libvirtd hangs");
  figure("further until the connection is down", seconds_since(begun));
  if (down) std::printf("     %s\n", down->problem.c_str());
  begun = Clock::now();
  ::kill(libvirtd_pid(), SIGCONT);
  check(events_.next<HypervisorConnection>(40s, [](const auto& e) { return e.up; }).has_value(),
        "it comes up again by itself");
  figure("SIGCONT to up", seconds_since(begun));
  check(is(revoke_and_look(op, vm(8)), DomainState::absent), "the unknown start ends absent");
  std::this_thread::sleep_for(2s);
  check(qemu_pid(vm(8)) == 0, "and nothing appears later");
}

void Walkthrough::libvirtd_restarts() {
  check(hypervisor_->protect(vm(9)).ok(), "protect");
  const OpId op = start(vm(9));
  check(ended_with(op, Outcome::done), "a start is done");
  const pid_t qemu = qemu_pid(vm(9));
  events_.clear();
  auto begun = Clock::now();
  ::kill(libvirtd_pid(), SIGKILL);
  check(events_.next<HypervisorConnection>(10s, [](const auto& e) { return !e.up; }).has_value(),
        "a killed libvirtd is told at once");
  figure("kill -9 of libvirtd to event", seconds_since(begun));
  std::this_thread::sleep_for(300ms);
  ::unlink("/run/libvirtd.pid");
  begun = Clock::now();
  if (std::system("libvirtd -d") != 0) check(false, "libvirtd starts again");
  check(events_.next<HypervisorConnection>(20s, [](const auto& e) { return e.up; }).has_value(),
        "the connection comes back");
  figure("start of libvirtd to up", seconds_since(begun));
  const auto seen = look(vm(9));
  check(is(seen, DomainState::running) && seen->started_by == op && qemu_pid(vm(9)) == qemu,
        "the protected VM was adopted without a grant, by its operation");
  reconnect();  // a new daemon, too
  hypervisor_->list({8, {}});
  const auto listed = events_.next<DomainsListed>(15s, [](const auto&) { return true; });
  check(listed && listed->ok && listed->domains.size() == 1 && listed->domains[0].started_by == op,
        "a new daemon finds it by its protection");
  ++index_;
  check(ended_with(stop(vm(9), 0s), Outcome::done), "stop");
}

void Walkthrough::guest_with_agent() {
  if (options_.kernel.empty()) {
    std::printf("NOT RUN: agent and shutdown by the guest (no --kernel)\n");
    return;
  }
  auto begun = Clock::now();
  check(ended_with(start(vm(20)), Outcome::done), "a guest with an agent starts");
  bool answered = false;
  while (!answered && seconds_since(begun) < 60) {
    if (!changed(vm(20), StopCause::none, 60s)) break;
    const auto seen = look(vm(20));
    answered = seen && seen->agent;
  }
  check(answered, "its agent answers, and an event tells when to look");
  figure("start to agent", seconds_since(begun));
  reconnect();
  const auto first = look(vm(20));
  check(first && !first->agent, "a new daemon does not know of the agent yet");
  check(changed(vm(20), StopCause::none).has_value(), "but asks it");
  const auto second = look(vm(20));
  check(second && second->agent, "and then knows");
  begun = Clock::now();
  events_.clear();
  const OpId op = stop(vm(20), 20s);
  check(changed(vm(20), StopCause::guest_shutdown).has_value(), "the guest shuts itself down");
  check(ended_with(op, Outcome::done), "and the stop is done");
  figure("stop by the guest's shutdown", seconds_since(begun));
}

bool Walkthrough::run() {
  one_start_and_kill();
  stop_of_a_deaf_guest();
  paused_and_signalled();
  hook_refuses();
  parallel(3);
  parallel(9);
  create_hangs_behind_the_hook();
  create_hangs_before_the_hook();
  guest_with_agent();
  libvirtd_restarts();
  libvirtd_hangs();
  for (const auto& [call, count] : hypervisor_->calls()) {
    std::printf("     %6llu %s\n", static_cast<unsigned long long>(count), call.c_str());
  }
  std::printf("%d failures\n", failures_);
  return failures_ == 0;
}

}  // namespace
}  // namespace clusterd

int main(int argc, char** argv) {
  clusterd::Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::string(argv[i]) == "--kernel") options.kernel = argv[i + 1];
    if (std::string(argv[i]) == "--initrd") options.initrd = argv[i + 1];
  }
  clusterd::Walkthrough walk{std::move(options)};
  return walk.run() ? 0 : 1;
}
