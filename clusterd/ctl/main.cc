// clusterctl: everything a person or a script does with a cluster.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <string>
#include <thread>

#include "clusterd/ctl/apply.h"
#include "clusterd/ctl/doctor.h"
#include "clusterd/ctl/plan.h"
#include "clusterd/ctl/session.h"
#include "clusterd/ctl/show.h"

namespace clusterd::ctl {
namespace {

// Set by the chosen command; runs after everything was parsed.
using Run = std::function<int(const Options&)>;

int print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  return 0;
}

int watch(const Options& options) {
  while (true) {
    const int code = read(options, GetStatus{}, [&](const Json& json) {
      print("\033[H\033[2J" + show_status(json, options.terminal));
    });
    if (code != 0) return code;
    std::fflush(stdout);
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

void add_reading(CLI::App& app, Run& run) {
  auto* status = app.add_subcommand("status", "nodes, VMs, and what is under way and why");
  static bool again = false;
  status->add_flag("--watch", again, "again every second");
  status->callback([&run] {
    run = [](const Options& options) {
      if (again) return watch(options);
      return read(options, GetStatus{},
                  [&](const Json& json) { print(show_status(json, options.terminal)); });
    };
  });
  auto* get = app.add_subcommand("get", "nodes, vms or the stored configuration");
  static std::string what;
  get->add_option("what", what)->required()->check(CLI::IsMember({"nodes", "vms", "config"}));
  get->callback([&run] {
    run = [](const Options& options) {
      if (what == "config") {
        return read(options, GetConfiguration{},
                    [](const Json& json) { print(json.dump(2) + "\n"); });
      }
      return read(options, GetStatus{}, [](const Json& json) {
        print(what == "nodes" ? show_nodes(json) : show_vms(json));
      });
    };
  });
  auto* explain = app.add_subcommand("explain", "why a VM is where it is, or does not run");
  auto* vm = explain->add_subcommand("vm", "one VM");
  static std::string name;
  vm->add_option("name", name)->required();
  explain->require_subcommand(1);
  vm->callback([&run] {
    run = [](const Options& options) {
      return read(options, ExplainVm{name}, [](const Json& json) { print(show_explain(json)); });
    };
  });
}

void add_declarations(CLI::App& app, Run& run) {
  static std::string path;
  static bool dry_run = false;
  auto* change = app.add_subcommand("apply", "sends declarations: changes what they mention");
  change->add_option("-f,--file", path, "a file, or a folder of *.yaml files")->required();
  change->add_flag("--dry-run", dry_run, "only show what would change and what would follow");
  change->callback([&run] {
    run = [](const Options& options) { return apply(options, path, dry_run); };
  });
  static std::string kind;
  static std::string name;
  auto* removal = app.add_subcommand("delete", "removes a vm, node or fence-device");
  removal->add_option("kind", kind)->required()->check(
      CLI::IsMember({"vm", "node", "fence-device"}));
  removal->add_option("name", name)->required();
  removal->add_flag("--dry-run", dry_run, "only show what would change and what would follow");
  removal->callback([&run] {
    run = [](const Options& options) {
      ApplyConfiguration request;
      if (kind == "vm") request.delete_vms.insert(name);
      if (kind == "node") request.delete_nodes.insert(name);
      if (kind == "fence-device") request.delete_fence_devices.insert(name);
      return remove(options, std::move(request), dry_run);
    };
  });
}

void add_forecasts(CLI::App& app, Run& run) {
  static PlanOptions wanted;
  auto* offline = app.add_subcommand("plan", "where everything would go, from files alone");
  offline->add_option("-f,--file", wanted.declarations, "a file, or a folder of *.yaml files")
      ->required();
  offline->add_option("--state", wanted.state, "a saved `status --json`: where things stand");
  offline->add_option("--down", wanted.down, "a node that dies; may be given several times");
  offline->add_flag("--rebalance", wanted.rebalance, "which moves of running VMs would pay")
      ->excludes("--down");
  offline->callback([&run] { run = [](const Options& options) { return plan(options, wanted); }; });
  static WhatIf loss;
  auto* live = app.add_subcommand("what-if", "what would happen if nodes died now");
  live->add_option("--down", loss.down, "a node that dies; may be given several times")->required();
  live->callback([&run] {
    run = [](const Options& options) {
      return read(options, loss,
                  [&](const Json& json) { print(show_forecast(json, options.terminal)); });
    };
  });
}

void add_doctor(CLI::App& app, Run& run) {
  auto* examine = app.add_subcommand("doctor", "what would fail on the bad night, here and now");
  examine->callback([&run] { run = [](const Options& options) { return doctor(options); }; });
}

void add_past(CLI::App& app, Run& run) {
  static GetHistory wanted;
  auto* history = app.add_subcommand("history", "what happened");
  history->add_option("--after", wanted.after_sequence, "only events after this number");
  history->add_option("--vm", wanted.vm, "only of this VM");
  history->add_option("--node", wanted.node, "only of this node");
  history->callback([&run] {
    run = [](const Options& options) {
      return read(options, wanted, [](const Json& json) { print(show_history(json)); });
    };
  });
  auto* failover = app.add_subcommand("failover", "failovers with their phase times");
  failover->require_subcommand(1);
  failover->add_subcommand("list", "all of them")->callback([&run] {
    run = [](const Options& options) {
      return read(options, GetFailovers{}, [](const Json& json) { print(show_failovers(json)); });
    };
  });
  static std::uint64_t id = 0;
  auto* show = failover->add_subcommand("show", "one in full");
  show->add_option("id", id)->required();
  show->callback([&run] {
    run = [](const Options& options) {
      return read(options, GetFailovers{id}, [](const Json& json) { print(show_failover(json)); });
    };
  });
}

void add_vm(CLI::App& app, Run& run) {
  static VmCommand command;
  static bool no_wait = false;
  auto* vm = app.add_subcommand("vm", "orders for one VM");
  vm->require_subcommand(1);
  const auto order = [&](const char* word, VmOrderKind kind, const char* help) {
    auto* sub = vm->add_subcommand(word, help);
    sub->add_option("name", command.name)->required();
    sub->add_flag("--no-wait", no_wait, "do not wait for the outcome");
    sub->callback([&run, kind] {
      command.order = kind;
      command.wait = !no_wait;
      run = [](const Options& options) { return finish(ask(options, command)); };
    });
  };
  order("start", VmOrderKind::start, "wanted running from now on");
  order("stop", VmOrderKind::stop, "wanted stopped from now on");
  order("restart", VmOrderKind::restart, "stop, then start");
  order("enable", VmOrderKind::enable, "managed again");
  order("disable", VmOrderKind::disable, "left alone");
}

bool confirmed(const std::string& name, const std::string& typed, const Options& options) {
  if (!typed.empty()) return typed == name;
  if (!options.terminal) return false;
  std::fprintf(stderr,
               "If %s still runs, its VMs will run twice and destroy their data.\n"
               "Type its name again to confirm that it is off: ",
               name.c_str());
  std::string line;
  std::getline(std::cin, line);
  return line == name;
}

void add_node(CLI::App& app, Run& run) {
  static NodeCommand command;
  static std::string typed;
  auto* node = app.add_subcommand("node", "orders for one node");
  node->require_subcommand(1);
  auto* fence = node->add_subcommand("fence", "fence a lost node now, brakes or not");
  fence->add_option("name", command.name)->required();
  fence->add_flag("--force", command.force, "although it is alive: its VMs die, and are recovered");
  fence->callback([&run] {
    command.order = NodeOrderKind::fence;
    run = [](const Options& options) { return finish(ask(options, command)); };
  });
  auto* cancel = node->add_subcommand("cancel-fence", "end its fence, and begin no other one");
  cancel->add_option("name", command.name)->required();
  cancel->callback([&run] {
    command.order = NodeOrderKind::cancel_fence;
    run = [](const Options& options) { return finish(ask(options, command)); };
  });
  auto* dead = node->add_subcommand("confirm-dead", "your word that a lost node is off");
  dead->add_option("name", command.name)->required();
  dead->add_option("--confirm", typed, "the name again, instead of typing it");
  dead->add_flag("--force", command.force, "although its fence device says on");
  dead->callback([&run] {
    command.order = NodeOrderKind::confirm_dead;
    run = [](const Options& options) {
      if (confirmed(command.name, typed, options)) return finish(ask(options, command));
      std::fprintf(stderr, "not confirmed: nothing was done (--confirm %s)\n",
                   command.name.c_str());
      return static_cast<int>(ReplyCode::refused);
    };
  });
}

void add_cluster(CLI::App& app, Run& run) {
  static InitCluster init;
  auto* found = app.add_subcommand("init", "founds the cluster, once");
  found->add_option("name", init.name)->required();
  found->callback([&run] {
    run = [](const Options& options) { return finish(ask(options, init)); };
  });
  static RecoverCluster recover;
  auto* accept = app.add_subcommand("recover", "your word after an untrusted cold start");
  accept->add_option("--accept-state", recover.node, "the node whose state is to be believed")
      ->required();
  accept->callback([&run] {
    run = [](const Options& options) { return finish(ask(options, recover)); };
  });
  static ClusterCommand order;
  auto* disarm = app.add_subcommand("disarm", "no automatic action until `arm`");
  disarm->add_option("--reason", order.reason, "what for; everybody sees it");
  disarm->callback([&run] {
    order.order = ClusterOrderKind::disarm;
    run = [](const Options& options) { return finish(ask(options, order)); };
  });
  auto* arm = app.add_subcommand("arm", "ends `disarm`");
  arm->callback([&run] {
    order.order = ClusterOrderKind::arm;
    run = [](const Options& options) { return finish(ask(options, order)); };
  });
  static TestFencing test;
  auto* fence = app.add_subcommand("fence-test", "asks every fence device for its status");
  fence->add_option("node", test.node, "only of this node");
  fence->callback([&run] {
    run = [](const Options& options) {
      return read(options, test, [](const Json& json) { print(show_fence_test(json)); });
    };
  });
}

}  // namespace
}  // namespace clusterd::ctl

int main(int argc, char** argv) {
  using namespace clusterd::ctl;
  Options options;
  Run run;
  std::int64_t timeout_s = 120;
  CLI::App app{"clusterctl: clusters of virtual machines that survive their hosts"};
  app.require_subcommand(1);
  app.fallthrough();
  app.add_flag("--json", options.json, "stable JSON instead of tables");
  app.add_option("--ipc-name", options.ipc_name, "the daemon's ipc_name");
  app.add_option("--timeout", timeout_s, "seconds to wait for the outcome of a change")
      ->check(CLI::Range(1, 86400));
  add_reading(app, run);
  add_declarations(app, run);
  add_forecasts(app, run);
  add_doctor(app, run);
  add_past(app, run);
  add_vm(app, run);
  add_node(app, run);
  add_cluster(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(clusterd::ReplyCode::usage);
  }
  options.terminal = isatty(STDOUT_FILENO) == 1;
  options.timeout = clusterd::Duration(timeout_s * 1000);
  return run(options);
}
