# bash completion for davit. What there is, the program itself tells: this never grows old.
_davit() {
  local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} before=${COMP_WORDS[COMP_CWORD-1]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "$(davit --help 2>/dev/null | sed -n '/^Subcommands:/,$s/^  \([a-z-]*\) .*/\1/p') --help" -- "$word"))
    return
  fi
  if [ "$command" = token ] && [ "$COMP_CWORD" -eq 2 ]; then
    COMPREPLY=($(compgen -W 'create list revoke mint create-key list-keys remove-key' -- "$word"))
    return
  fi
  case $before in
    --config-file | --file | -f | --env-file | --tokens-file | --key-file | --input | --output-dir) COMPREPLY=($(compgen -f -- "$word")); return ;;
    --state) COMPREPLY=($(compgen -W 'queued starting running finished' -- "$word")); return ;;
    --start) COMPREPLY=($(compgen -W 'auto warm cold' -- "$word")); return ;;
    --pull) COMPREPLY=($(compgen -W 'missing always never' -- "$word")); return ;;
    --network) COMPREPLY=($(compgen -W 'none bridge host' -- "$word")); return ;;
    --profile) COMPREPLY=($(compgen -W 'restricted baseline privileged' -- "$word")); return ;;
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$(davit "$command" --help 2>/dev/null | grep -oE -- '(^|[ ,])--?[a-z][a-z-]*' | tr -d ' ,')" -- "$word"))
    return
  fi
  case $command in
    logs | wait | inspect | cancel | events | outputs) COMPREPLY=($(compgen -W "$(davit ps --json -n 50 2>/dev/null | grep -oE '"id":"[0-9a-f-]{36}"' | cut -d'"' -f4)" -- "$word")) ;;
    drain) COMPREPLY=($(compgen -W "$(davit agents --json 2>/dev/null | grep -oE '"name":"[^"]*","home"' | cut -d'"' -f4)" -- "$word")) ;;
    check-config | explain-policy) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}
complete -F _davit davit
