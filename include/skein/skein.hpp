#pragma once

// Everything that a business module and its `main` need.

#include <skein/authentication.hpp>
#include <skein/client.hpp>
#include <skein/clock.hpp>
#include <skein/config.hpp>
#include <skein/connection.hpp>
#include <skein/container.hpp>
#include <skein/delivery.hpp>
#include <skein/error.hpp>
#include <skein/handshake.hpp>
#include <skein/inbound.hpp>
#include <skein/jwt.hpp>
#include <skein/manager.hpp>
#include <skein/message.hpp>
#include <skein/message_store.hpp>
#include <skein/protocol.hpp>
#include <skein/server.hpp>
#include <skein/tls.hpp>
#include <skein/topics.hpp>
#include <skein/users.hpp>
#include <skein/validation.hpp>
#include <skein/websocket.hpp>
