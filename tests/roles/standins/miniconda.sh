#!/bin/bash
# A stand-in for a Miniconda installer. It knows exactly the flags that the role uses, and what the real one insists on;
# everything else is an error. @VERSION@ and @PYTHON@ are filled in by the test.
set -eu
fail() { echo "ERROR: $*" >&2; exit 1; }

case $0 in *.sh) ;; *) fail "the installer's name must end in .sh, not $0" ;; esac
calls="$*"
batch='' update='' prefix=''
while [ $# -gt 0 ]; do
  case $1 in
    -b) batch=1 ;;
    -u) update=1 ;;
    -p) prefix=${2:?-p needs a prefix}; shift ;;
    *) fail "unknown option $1" ;;
  esac
  shift
done
[ -n "$batch" ] || fail "would ask for the licence, and there is no terminal"
case $prefix in /*) ;; *) fail "-p needs an absolute path, not '$prefix'" ;; esac
if [ -e "$prefix" ] && [ -z "$update" ]; then
  fail "File or directory already exists: '$prefix'. If you want to update an existing installation, use the -u option."
fi

mkdir -p "$prefix/bin" "$prefix/envs"
echo "$calls" >>"$prefix/installer.calls"
case "@VERSION@" in *broken*) fail "the disk is full" ;; esac
echo "@VERSION@" >"$prefix/version"
cat >"$prefix/bin/conda" <<'CONDA'
#!/bin/bash
# A stand-in for conda: it knows exactly the call that the role makes.
set -eu
fail() { echo "CondaError: $*" >&2; exit 1; }
root=$(dirname "$(dirname "$0")")
echo "$*" >>"$root/conda.calls"
echo "${https_proxy-} but for ${no_proxy-}" >>"$root/conda.proxies"
[ $# = 9 ] || fail "expected 9 arguments, got $#: $*"
[ "$1 $2 $3 $4" = "create --yes --quiet --prefix" ] || fail "unknown call: $*"
[ "$6 $7" = "--override-channels --channel" ] || fail "CondaToSNonInteractiveError: Terms of Service have not been accepted"
[ "$9" = "python=@PYTHON@" ] || fail "PackagesNotFoundError: $9"
[ ! -e "$5" ] || fail "DirectoryNotACondaEnvironmentError: $5"
mkdir -p "$5"
case $8 in
  conda-forge) ;;
  interrupted) fail "CondaHTTPError: the connection broke" ;;
  *) fail "UnavailableInvalidChannel: $8" ;;
esac
@PYTHON_PATH@ -m venv --without-pip "$5"
CONDA
chmod 755 "$prefix/bin/conda"
