"""OpenSSL's own command against skein-server: which versions of TLS, ciphers and protocols it speaks.

usage: openssl_client_test.py SKEIN_SERVER [unittest's arguments]
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

SERVER = ""


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=30, **options)


class Server:
    """skein-server with certificates of an authority made here."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)
        self.make("ca", "test root")
        self.make("localhost", "localhost", "-CA", self.file("ca.crt"), "-CAkey", self.file("ca.key"),
                  "-addext", "subjectAltName=DNS:localhost")
        self.process = subprocess.Popen(
            [SERVER, "--port", "0", "--examples=false", "--tls-certificate", self.file("localhost.crt"), "--tls-key",
             self.file("localhost.key")], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().strip().rpartition(":")[2])
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.status = self.process.wait(timeout=60)
        self.process.stdout.close()
        self.folder.cleanup()

    def file(self, name):
        return str(self.path / name)

    def make(self, name, common_name, *more):
        made = openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                       "-subj", f"/CN={common_name}", "-keyout", self.file(f"{name}.key"), "-out",
                       self.file(f"{name}.crt"), *more)
        if made.returncode != 0:
            raise RuntimeError(made.stderr)

    def shake_hands(self, *options, say=""):
        return openssl("s_client", "-connect", f"127.0.0.1:{self.port}", "-servername", "localhost", "-verify_hostname",
                       "localhost", "-verify_return_error", "-CAfile", self.file("ca.crt"), *options, input=say)


class Handshakes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server())

    def agreed(self, *options):
        """The version and the cipher that were agreed on; nothing if there was no agreement."""
        answer = self.server.shake_hands(*options)
        found = re.search(r"^New, (TLSv[0-9.]+), Cipher is (\S+)$", answer.stdout, re.M)
        if not found:
            self.assertNotEqual(answer.returncode, 0)
            return None
        self.assertIn("Verification: OK", answer.stdout)
        return found.groups()

    def test_versions(self):
        self.assertEqual(self.agreed("-tls1_3")[0], "TLSv1.3")
        self.assertEqual(self.agreed("-tls1_2")[0], "TLSv1.2")
        for old in ("-tls1_1", "-tls1"):
            self.assertIsNone(self.agreed(old, "-cipher", "ALL:@SECLEVEL=0"), old)

    def test_ciphers(self):
        self.assertEqual(self.agreed("-tls1_2"), ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"))
        for weak in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "aNULL"):
            self.assertIsNone(self.agreed("-tls1_2", "-cipher", f"{weak}:@SECLEVEL=0"), weak)

    def test_alpn(self):
        both = self.server.shake_hands("-alpn", "h2,http/1.1")
        self.assertIn("ALPN protocol: http/1.1", both.stdout)
        alone = self.server.shake_hands("-alpn", "h2")
        self.assertNotEqual(alone.returncode, 0)
        self.assertIn("no application protocol", alone.stderr)

    def test_resumption_and_renegotiation(self):
        ticket = self.server.file("session")
        self.assertEqual(self.server.shake_hands("-tls1_2", "-sess_out", ticket).returncode, 0)
        self.assertIn("Reused, TLSv1.2", self.server.shake_hands("-tls1_2", "-sess_in", ticket).stdout)
        again = self.server.shake_hands("-tls1_2", say="R\n")
        self.assertIn("no renegotiation", again.stderr)


if __name__ == "__main__":
    SERVER = sys.argv.pop(1)
    unittest.main()
