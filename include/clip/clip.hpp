#pragma once
// Everything a user of the library needs. Not included inside the repository, but for the tests of what users write.
