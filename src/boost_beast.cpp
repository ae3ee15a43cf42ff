// The one translation unit that compiles what Boost.Beast has outside its templates
// (BOOST_BEAST_SEPARATE_COMPILATION).

#include <boost/beast/src.hpp>
