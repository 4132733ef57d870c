# stdout: gen:generate|style:cartoon|option:--prompt-file|verb:world
$reelm completion bash >c && source ./c || exit 99
ask() {
  COMP_WORDS=("$@")
  COMP_CWORD=$(($# - 1))
  _reelm
  echo -n "${COMPREPLY[*]}"
}
echo "gen:$(ask reelm gen)|style:$(ask reelm world --style car)|option:$(ask reelm generate --prompt-f)|verb:$(ask reelm wor)"
