#include "connection/engine.hpp"

namespace skein::detail {

upgrade accept_upgrade(const request& what, std::string_view subprotocol, const engine_options& options,
                       std::span<char> scratch) {
  return options.kind == engine::beast ? accept_with_beast(what, subprotocol, options, scratch)
                                       : accept_natively(what, subprotocol, options);
}

}  // namespace skein::detail
