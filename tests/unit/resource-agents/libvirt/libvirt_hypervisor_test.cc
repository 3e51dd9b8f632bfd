// The adapter against libvirt's test driver: what it supports is looks, lists, start, stop and
// lifecycle events; stuck calls, the hook and agents are seen in tests/integration.
#include "resource-agents/libvirt/libvirt_hypervisor.h"

#include <libvirt/libvirt.h>

#include <catch2/catch.hpp>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <future>
#include <mutex>

#include "resource-agents/libvirt/link.h"
#include "resource-agents/libvirt/observe.h"

using namespace clusterd;
using namespace std::chrono_literals;

namespace {

class EventQueue final : public EventSink {
 public:
  void post(Event event) override {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    changed_.notify_all();
  }
  // Waits for the next event of this type that `wanted` accepts; drops the ones before it.
  template <class T>
  std::optional<T> next(const std::function<bool(const T&)>& wanted = [](const T&) {
    return true;
  }) {
    std::unique_lock lock(mutex_);
    const auto limit = std::chrono::steady_clock::now() + 10s;
    for (;;) {
      while (!events_.empty()) {
        const Event event = std::move(events_.front());
        events_.pop_front();
        const auto* found = std::get_if<T>(&event);
        if (found != nullptr && wanted(*found)) return *found;
      }
      if (changed_.wait_until(lock, limit) == std::cv_status::timeout) return std::nullopt;
    }
  }
  [[nodiscard]] std::size_t count() {
    const std::lock_guard lock(mutex_);
    return events_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Event> events_;
};

struct Node {
  std::string directory;
  EventQueue events;
  libvirt::CallCounter told;  // by the hook
  std::unique_ptr<LibvirtHypervisor> hypervisor;

  explicit Node(const std::string& uri = "test:///default", Duration patience = 5000ms,
                const std::string& hook = "") {
    char name[] = "/tmp/clusterd-test-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    directory = name;
    LibvirtOptions options;
    options.uri = uri;
    options.run_dir = directory + "/run";
    options.state_dir = directory + "/state";
    options.hook = hook;
    options.look_timeout = patience;
    options.list_timeout = patience;
    options.called = [this](const char* function) { told.count(function); };
    hypervisor = std::make_unique<LibvirtHypervisor>(options, events);
    const auto link = events.next<HypervisorConnection>();
    REQUIRE(link);
    CHECK(link->up == (uri == "test:///default"));
  }
  ~Node() {
    hypervisor.reset();
    std::filesystem::remove_all(directory);
  }
  std::optional<VmOperationEnded> ended() { return events.next<VmOperationEnded>(); }
  std::optional<LookedUp> look(VmId vm) {
    hypervisor->look_up({vm, 77});
    return events.next<LookedUp>();
  }
};

VmId vm(std::uint8_t n) {
  VmId id;
  id.uuid.bytes = {0x5e, 0xed, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, n};
  return id;
}
OpId op(std::uint64_t index) {
  return {Epoch(2), LogIndex(index)};
}

DispatchStart start_order(VmId id, std::uint64_t index) {
  const std::string name = "vm" + id.str();
  return {op(index),
          id,
          name,
          Generation(1),
          "<domain type='test'><name>" + name +
              "</name><memory>8192</memory>"
              "<os><type>hvm</type></os></domain>",
          5000ms};
}

}  // namespace

TEST_CASE("libvirt: a start shows by a look with its operation, a stop ends absent") {
  Node node;
  node.hypervisor->start(start_order(vm(1), 10));
  const auto started = node.ended();
  REQUIRE(started);
  CHECK(started->outcome == Outcome::done);
  CHECK(started->op == op(10));
  CHECK(started->state == DomainState::running);
  // The grant is gone once the domain runs: it must not license another start.
  CHECK_FALSE(std::filesystem::exists(node.directory + "/run/grants/" + vm(1).str()));
  const auto seen = node.look(vm(1));
  REQUIRE((seen && seen->found));
  CHECK(seen->look == 77);
  CHECK(seen->found->state == DomainState::running);
  CHECK(seen->found->started_by == op(10));
  CHECK_FALSE(seen->found->agent);
  node.hypervisor->stop({op(11), vm(1), 3000ms, 3000ms});
  const auto stopped = node.ended();
  REQUIRE(stopped);
  CHECK(stopped->outcome == Outcome::done);
  CHECK(stopped->state == DomainState::absent);
  const auto gone = node.look(vm(1));
  REQUIRE((gone && gone->found));
  CHECK(gone->found->state == DomainState::absent);
}

TEST_CASE("libvirt: lifecycle events become DomainChanged with the cause") {
  Node node;
  node.hypervisor->start(start_order(vm(2), 10));
  REQUIRE(node.events.next<DomainChanged>([](const auto& e) { return e.vm == vm(2); }));
  node.hypervisor->stop({op(11), vm(2), 0ms, 3000ms});
  const auto stopped = node.events.next<DomainChanged>(
      [](const auto& e) { return e.vm == vm(2) && e.cause != StopCause::none; });
  REQUIRE(stopped);
  CHECK(stopped->cause == StopCause::destroyed);
}

TEST_CASE("libvirt: a start that libvirt refuses has failed without effect") {
  Node node;
  auto order = start_order(vm(3), 10);
  order.xml = "<domain type='nonsense'/>";
  node.hypervisor->start(order);
  const auto refused = node.ended();
  REQUIRE(refused);
  CHECK(refused->outcome == Outcome::failed_without_effect);
  CHECK_FALSE(refused->detail.empty());
  CHECK_FALSE(std::filesystem::exists(node.directory + "/run/grants/" + vm(3).str()));
}

TEST_CASE("libvirt: a start of what runs already is done, not failed") {
  Node node;
  node.hypervisor->start(start_order(vm(4), 10));
  REQUIRE(node.ended());
  node.hypervisor->start(start_order(vm(4), 11));
  const auto again = node.ended();
  REQUIRE(again);
  CHECK(again->outcome == Outcome::done);
  const auto seen = node.look(vm(4));
  REQUIRE((seen && seen->found));
  CHECK(seen->found->started_by == op(10));
}

TEST_CASE("libvirt: a stop of what is not there is done") {
  Node node;
  node.hypervisor->stop({op(10), vm(5), 1000ms, 1000ms});
  const auto ended = node.ended();
  REQUIRE(ended);
  CHECK(ended->outcome == Outcome::done);
}

TEST_CASE("libvirt: a revoked start does not run, even if its order comes afterwards") {
  Node node;
  node.hypervisor->revoke_and_look({op(10), vm(6), 5});
  const auto looked = node.events.next<LookedUp>();
  REQUIRE((looked && looked->found));
  CHECK(looked->look == 5);
  CHECK(looked->found->state == DomainState::absent);
  node.hypervisor->start(start_order(vm(6), 10));
  const auto ended = node.ended();
  REQUIRE(ended);
  CHECK(ended->outcome == Outcome::failed_without_effect);
}

TEST_CASE("libvirt: the list has the known and the protected active domains, and the host") {
  Node node;
  node.hypervisor->start(start_order(vm(7), 10));
  REQUIRE(node.ended());
  node.hypervisor->start(start_order(vm(8), 11));
  REQUIRE(node.ended());
  REQUIRE(node.hypervisor->protect(vm(7)).ok());
  CHECK(node.hypervisor->protected_vms() == std::set<VmId>{vm(7)});
  node.hypervisor->list({3, {vm(8), vm(9)}});
  const auto listed = node.events.next<DomainsListed>();
  REQUIRE(listed);
  CHECK(listed->ok);
  CHECK(listed->look == 3);
  REQUIRE(listed->domains.size() == 2);
  CHECK(listed->domains[0].vm == vm(7));
  CHECK(listed->domains[1].vm == vm(8));
  CHECK(listed->facts.total.vcpus == 16);  // what the test driver says
  CHECK(listed->facts.total.memory == 3145728ULL * 1024);
  CHECK(listed->facts.problem.empty());
}

TEST_CASE("libvirt: a persistent definition of an HA domain is a problem of the host") {
  Node node;
  const std::unique_ptr<virConnect, int (*)(virConnectPtr)> connection(
      virConnectOpen("test:///default"), virConnectClose);
  const auto xml = "<domain type='test'><name>old</name><uuid>" + vm(9).str() +
                   "</uuid><memory>8192</memory><os><type>hvm</type></os></domain>";
  const auto domain = virDomainDefineXML(connection.get(), xml.c_str());
  REQUIRE(domain != nullptr);
  virDomainSetAutostart(domain, 1);
  node.hypervisor->list({4, {vm(9)}});
  const auto listed = node.events.next<DomainsListed>();
  REQUIRE(listed);
  CHECK(listed->ok);
  CHECK(listed->domains.empty());
  CHECK(listed->facts.problem.find(vm(9).str()) != std::string::npos);
  CHECK(listed->facts.problem.find("autostart") != std::string::npos);
  const auto seen = node.look(vm(9));
  REQUIRE((seen && seen->found));
  CHECK(seen->found->state == DomainState::absent);
  virDomainUndefine(domain);
  virDomainFree(domain);
}

TEST_CASE("libvirt: calls are counted by name, and none is made without a reason") {
  Node node;
  const auto before = node.hypervisor->calls();
  CHECK(before.at("virConnectOpen") == 1);
  REQUIRE(node.look(vm(10)));
  const auto after = node.hypervisor->calls();
  CHECK(after.at("virDomainLookupByUUID") == 1);
  CHECK(node.hypervisor->calls() == after);
  CHECK(node.told.snapshot() == after);
}

TEST_CASE("libvirt: nobody is told of calls once the counter is closed") {
  int told = 0;
  libvirt::CallCounter calls([&](const char*) { ++told; });
  calls.count("virConnectOpen");
  calls.close();
  calls.count("virConnectOpen");
  CHECK(told == 1);
  CHECK(calls.snapshot().at("virConnectOpen") == 2);
}

TEST_CASE("libvirt: where libvirt cannot be reached everything is unknown, in time") {
  Node node("qemu+unix:///system?socket=/nowhere/libvirt-sock", 200ms);
  const auto seen = node.look(vm(1));
  REQUIRE(seen);
  CHECK_FALSE(seen->found);
  node.hypervisor->list({9, {vm(1)}});
  const auto listed = node.events.next<DomainsListed>();
  REQUIRE(listed);
  CHECK_FALSE(listed->ok);
  CHECK_FALSE(listed->facts.problem.empty());
  auto order = start_order(vm(1), 10);
  order.timeout = 200ms;
  node.hypervisor->start(order);
  const auto ended = node.ended();
  REQUIRE(ended);
  CHECK(ended->outcome == Outcome::unknown);
  CHECK_FALSE(std::filesystem::exists(node.directory + "/run/grants/" + vm(1).str()));
}

TEST_CASE("libvirt: every domain state has its meaning, and a new one means nothing") {
  using libvirt::domain_state;
  CHECK(domain_state(VIR_DOMAIN_RUNNING, 0) == DomainState::running);
  CHECK(domain_state(VIR_DOMAIN_BLOCKED, 0) == DomainState::running);
  CHECK(domain_state(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER) == DomainState::paused);
  CHECK(domain_state(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_IOERROR) == DomainState::paused_io_error);
  CHECK(domain_state(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_WATCHDOG) == DomainState::crashed);
  CHECK(domain_state(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION) ==
        DomainState::paused_incoming);
  CHECK(domain_state(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP) ==
        DomainState::paused_incoming);
  CHECK(domain_state(VIR_DOMAIN_SHUTDOWN, 0) == DomainState::shutting_down);
  CHECK(domain_state(VIR_DOMAIN_SHUTOFF, 0) == DomainState::absent);
  CHECK(domain_state(VIR_DOMAIN_CRASHED, 0) == DomainState::crashed);
  CHECK_FALSE(domain_state(VIR_DOMAIN_NOSTATE, 0));
  CHECK_FALSE(domain_state(99, 0));
}

TEST_CASE("libvirt: the cause of a stop keeps guest, operator, crash and failure apart") {
  using libvirt::stop_cause;
  const auto stopped = [](int detail, bool killed = false) {
    return stop_cause(VIR_DOMAIN_EVENT_STOPPED, detail, killed);
  };
  CHECK(stopped(VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN) == StopCause::guest_shutdown);
  CHECK(stopped(VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, true) == StopCause::destroyed);
  CHECK(stopped(VIR_DOMAIN_EVENT_STOPPED_DESTROYED) == StopCause::destroyed);
  CHECK(stopped(VIR_DOMAIN_EVENT_STOPPED_CRASHED) == StopCause::crashed);
  CHECK(stopped(VIR_DOMAIN_EVENT_STOPPED_FAILED) == StopCause::failed);
  CHECK(stopped(VIR_DOMAIN_EVENT_STOPPED_MIGRATED) == StopCause::migrated);
  CHECK(stop_cause(VIR_DOMAIN_EVENT_CRASHED, VIR_DOMAIN_EVENT_CRASHED_PANICKED, false) ==
        StopCause::crashed);
  CHECK(stop_cause(VIR_DOMAIN_EVENT_CRASHED, VIR_DOMAIN_EVENT_CRASHED_CRASHLOADED, false) ==
        StopCause::none);
  CHECK(stop_cause(VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_IOERROR, false) ==
        StopCause::none);
}

TEST_CASE("libvirt: a host without the hook says that nothing may start on it") {
  Node bare("test:///default", 5000ms, "/nowhere/hook");
  bare.hypervisor->list({5, {}});
  auto listed = bare.events.next<DomainsListed>();
  REQUIRE(listed);
  CHECK(listed->ok);
  CHECK(listed->facts.problem.find("/nowhere/hook is not installed") != std::string::npos);

  Node guarded("test:///default", 5000ms, "/bin/true");
  guarded.hypervisor->list({5, {}});
  listed = guarded.events.next<DomainsListed>();
  REQUIRE(listed);
  CHECK(listed->facts.problem.empty());
}

namespace {

template <class T>
std::optional<AgentAnswer<T>> answer_of(
    const std::function<void(GuestAgent::Answered<T>)>& ask) {
  const auto answered = std::make_shared<std::promise<AgentAnswer<T>>>();
  auto answer = answered->get_future();
  ask([answered](AgentAnswer<T> told) { answered->set_value(std::move(told)); });
  if (answer.wait_for(10s) != std::future_status::ready) return std::nullopt;
  return answer.get();
}

template <class T>
bool failed_as(const std::optional<AgentAnswer<T>>& answer, AgentFailure::Kind kind) {
  REQUIRE(answer);
  const auto* failure = std::get_if<AgentFailure>(&*answer);
  if (failure != nullptr) INFO(failure->detail);
  return failure != nullptr && failure->kind == kind;
}

}  // namespace

// The test driver has no agents, and cannot bound a wait for one: so it is not waited for. That is
// no word on the guest.
TEST_CASE("libvirt: questions to a guest's agent are answered once, also where there is none") {
  Node node;
  LibvirtHypervisor& agents = *node.hypervisor;
  node.hypervisor->start(start_order(vm(20), 40));
  REQUIRE(node.ended());
  const auto alive = answer_of<AgentAlive>([&](auto told) { agents.ping(vm(20), 2000ms, told); });
  CHECK(failed_as(alive, AgentFailure::Kind::not_asked));
  CHECK(node.hypervisor->calls().count("virDomainGetTime") == 0);
  CHECK(failed_as(answer_of<std::string>([&](auto told) {
                    agents.command(vm(20), R"({"execute":"guest-ping"})", 2000ms, told);
                  }),
                  AgentFailure::Kind::not_asked));
  const auto output = answer_of<GuestOutput>([&](auto told) { agents.output(vm(20), told); });
  REQUIRE(output);
  CHECK(node.hypervisor->calls().at("virDomainListGetStats") == 1);
  const auto gone = answer_of<AgentAlive>([&](auto told) { agents.ping(vm(21), 2000ms, told); });
  CHECK(failed_as(gone, AgentFailure::Kind::not_asked));
}

TEST_CASE("libvirt: where libvirt cannot be reached no agent was asked") {
  Node node("qemu+unix:///system?socket=/nowhere/libvirt-sock", 200ms);
  LibvirtHypervisor& agents = *node.hypervisor;
  using Kind = AgentFailure::Kind;
  CHECK(failed_as(
      answer_of<AgentAlive>([&](auto told) { agents.ping(vm(1), 100ms, told); }), Kind::not_asked));
  CHECK(failed_as(answer_of<std::vector<std::string>>(
                      [&](auto told) { agents.addresses(vm(1), 100ms, told); }),
                  Kind::not_asked));
  CHECK(failed_as(answer_of<GuestOutput>([&](auto told) { agents.output(vm(1), told); }),
                  Kind::not_asked));
}
