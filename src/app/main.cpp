// skein-server: a container with the standard endpoints, ready to run.

#include "app/bench_routes.hpp"
#include "app/log.hpp"
#include "http/page.hpp"

#include <skein/skein.hpp>

#ifdef SKEIN_WITH_EXAMPLES
#include "examples.hpp"
#endif
#ifdef SKEIN_WITH_SQLITE
#include <skein/sqlite.hpp>
#endif

#include <csignal>

#include <cstdio>
#include <exception>
#include <malloc.h>

namespace {

// Exit statuses: what `container::run` says, and this one for options that are not allowed.
constexpr int bad_usage = 2;

/// Opens the database of the options; its events go to the container's log.
std::shared_ptr<skein::message_store> open_store(const std::string& path,
                                                 [[maybe_unused]] const skein::container& logs) {
#ifdef SKEIN_WITH_SQLITE
  skein::sqlite_store_options options;
  options.path = path;
  options.on_event = [&logs](const skein::sqlite_event& event) {
    using kind = skein::sqlite_event::kind;
    if (event.what == kind::available) {
      logs.log(skein::log_level::info, "the message store is available again");
    } else {
      logs.log(skein::log_level::error,
               (event.what == kind::moved_aside ? "the message store was damaged, begins anew, and is now "
                                                : "the message store is not available: ") +
                   event.text);
    }
  };
  return skein::make_sqlite_store(std::move(options));
#else
  throw std::invalid_argument{"store " + path + ": this server was built without SQLite"};
#endif
}

int run(skein::config options) {
#ifdef SKEIN_WITH_EXAMPLES
  if (options.examples) skein::examples::configure(options);
#endif
  skein::container container{options};
  if (!options.store.empty()) container.use(open_store(options.store, container));
  container.server().add_standard_endpoints();
  if (options.bench_routes) skein::app::add_bench_routes(container);
#ifdef SKEIN_WITH_EXAMPLES
  if (options.examples) {
    skein::examples::install(container);
    skein::app::install_page(container.server());
    return container.run();
  }
#endif
  skein::app::install_client(container.server());
  skein::route_options how;
  how.subprotocols = {"skein.v1"};
  container.server().route("/ws", container.protocol().handler(), std::move(how));
  return container.run();
}

}  // namespace

int main(int argc, char** argv) {
  // By default glibc returns the top of the heap to the system as soon as 128 KiB of it are free, and takes
  // it back for the next message: page faults were a fifth of the cost of echoing 16 KiB.
  mallopt(M_TRIM_THRESHOLD, 16 << 20);
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  std::signal(SIGPIPE, SIG_IGN);  // standard output or error may be a pipe that nobody reads any more
  try {
    return run(skein::config::load(argc, argv));
  } catch (const skein::help_requested& help) {
    std::fputs(help.what(), stdout);
    return 0;
  } catch (const std::invalid_argument& e) {
    std::fprintf(stderr, "skein-server: %s\n", skein::app::one_line(e.what()).c_str());
    return bad_usage;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "skein-server: %s\n", skein::app::one_line(e.what()).c_str());
    return 1;
  }
}
