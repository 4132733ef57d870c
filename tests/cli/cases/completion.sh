# stdout: gen:generate|style:cartoon|option:--prompt-file|verb:world|train:judge|eval:video audio world|weights:int8
$reelm completion bash >c && source ./c || exit 99
ask() {
  COMP_WORDS=("$@")
  COMP_CWORD=$(($# - 1))
  _reelm
  echo -n "${COMPREPLY[*]}"
}
echo "gen:$(ask reelm gen)|style:$(ask reelm world --style car)|option:$(ask reelm generate --prompt-f)|verb:$(ask reelm wor)|train:$(ask reelm train ju)|eval:$(ask reelm eval "")|weights:$(ask reelm generate --weights i)"
