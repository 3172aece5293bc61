using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace Samples;

/// <summary>The kinds of options that samples have, each with the message for a value that does not fit.</summary>
internal static class Setting
{
    public static Option<string> Text(string name, string value, string what, string usual) =>
        new(name)
        {
            Description = what,
            HelpName = value,
            DefaultValueFactory = _ => usual,
            CustomParser = result => NotEmpty(name, result),
        };

    /// <summary>A text that need not be there; what stands in for it is said in <paramref name="what"/>.</summary>
    public static Option<string?> OptionalText(string name, string value, string what) =>
        new(name)
        {
            Description = what,
            HelpName = value,
            CustomParser = result => NotEmpty(name, result),
        };

    public static Option<int> Number(string name, string what, int usual, int least) =>
        new(name)
        {
            Description = what,
            HelpName = "N",
            DefaultValueFactory = _ => usual,
            CustomParser = result => AtLeast(least, name, result) ?? usual,
        };

    /// <summary>A number that need not be there; what stands in for it is said in <paramref name="what"/>.</summary>
    public static Option<int?> OptionalNumber(string name, string what, int least) =>
        new(name)
        {
            Description = what,
            HelpName = "N",
            CustomParser = result => AtLeast(least, name, result),
        };

    public static Option<bool> Switch(string name, string what) => new(name) { Description = what, Arity = ArgumentArity.Zero };

    /// <summary>One of some words, the first of them where none is given.</summary>
    public static Option<string> OneOf(string name, string what, params string[] words) =>
        new(name)
        {
            Description = what,
            HelpName = string.Join('|', words),
            DefaultValueFactory = _ => words[0],
            CustomParser = result =>
            {
                var word = result.Tokens[0].Value;
                if (!words.Contains(word))
                {
                    result.AddError($"{name} is {string.Join(", ", words[..^1])} or {words[^1]}, not '{word}'.");
                }

                return word;
            },
        };

    private static string NotEmpty(string name, ArgumentResult result)
    {
        var text = result.Tokens[0].Value;
        if (text.Length == 0)
        {
            result.AddError($"{name} needs a value.");
        }

        return text;
    }

    private static int? AtLeast(int least, string name, ArgumentResult result)
    {
        var text = result.Tokens[0].Value;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least)
        {
            return number;
        }

        result.AddError($"{name} is a whole number of at least {least}, not '{text}'.");
        return null;
    }
}
