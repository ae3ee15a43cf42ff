#pragma once

// What a payload claims, against what is asked of it (RFC 7519 section 4.1). No cryptography, no state.

#include <skein/jwt.hpp>

namespace skein::detail {

/// `algorithm` and `kid` are left as they are made. `jti` is asked for if `one_time_capacity` is not zero.
[[nodiscard]] jwt_verdict check_claims(boost::json::object payload, const jwt_options& options,
                                       std::chrono::sys_seconds now);

}  // namespace skein::detail
