namespace Influence.Display;

/// <summary>The formatters that .NET Interactive finds through <see cref="TypeFormatterSourceAttribute"/>, by its convention.</summary>
internal sealed class HtmlPictures
{
    private readonly object[] _formatters = [new Formatter("text/html", picture => picture.ToHtml())];

    /// <summary>One formatter, for HTML.</summary>
    public IEnumerable<object> CreateTypeFormatters() => _formatters;

    private sealed class Formatter(string mimeType, Func<IPicture, string> render)
    {
        public string MimeType { get; } = mimeType;

        public bool Format(object instance, TextWriter writer)
        {
            if (instance is not IPicture picture)
            {
                return false;
            }

            writer.Write(render(picture));
            return true;
        }
    }
}
