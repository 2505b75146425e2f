# What was typed, looked through before anything is installed or built. Sourced by the run scripts:
#   look_through LIST WORD...
# LIST holds the cases as --list prints them; the runner ends when it is not current.

usage() { echo "usage: $0 [--list] [--strict] [--build DIR] [--keep] [--json FILE] [CASE | BEGINNING-]..."; }

wrong() {
  echo "$0: $*" >&2
  usage >&2
  exit 2
}

is_case() {
  local list=$1 word=$2 name rest
  while read -r name rest; do
    if [ "$name" = "$word" ] || { [[ $word == ?*- ]] && [[ $name == "$word"* ]]; }; then return 0; fi
  done < "$list"
  return 1
}

look_through() {
  local list=$1 word before=
  shift
  for word in "$@"; do
    case $before in
      --build) [ -d "$word" ] || wrong "--build wants the folder of a build, not '$word'" ;;
    esac
    if [ -n "$before" ]; then before=; continue; fi
    case $word in
      --list) cat "$list"; exit 0 ;;
      -h | --help) usage; exit 0 ;;
      --build | --json | --cases) before=$word ;;
      --strict | --keep | --runtimes-ready | --write-list) ;;
      -*) wrong "there is no option $word" ;;
      *) is_case "$list" "$word" || wrong "there is no case '$word'; --list names them" ;;
    esac
  done
  [ -z "$before" ] || wrong "$before wants a value"
}
