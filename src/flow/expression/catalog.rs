//! The functions, filters and tests of expressions: the one table that the parser, the engine, `taxi schema` and the
//! documentation read.

use super::functions::{Body, collections, dates, files, formats, numbers, run, text};

/// How an expression uses an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `name(…)`.
    Function,
    /// `value | name`.
    Filter,
    /// `value is name`.
    Test,
}

impl Role {
    /// The name of the role in messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Filter => "filter",
            Self::Test => "test",
        }
    }
}

/// A function, a filter or a test.
pub(crate) struct Entry {
    /// How an expression uses the entry.
    pub(crate) role: Role,
    /// Its name in expressions.
    pub(crate) name: &'static str,
    /// The names of its arguments, without the value of a filter or a test. An optional argument ends in `?`; `…`
    /// stands for any number of arguments.
    pub(crate) arguments: &'static [&'static str],
    /// What it returns.
    pub(crate) about: &'static str,
    /// An example.
    pub(crate) example: &'static str,
    /// The text of the example's value; empty if it differs from run to run.
    pub(crate) result: &'static str,
    /// What it does. `None` for a function that the run adds.
    pub(crate) body: Option<Body>,
}

impl Entry {
    /// The name under which the template engine knows the entry: it has one name space for all roles.
    pub(crate) fn engine_name(&self) -> String {
        match self.role {
            Role::Function => self.name.to_owned(),
            Role::Filter if find(Role::Function, self.name).is_some() => format!("filter_{}", self.name),
            Role::Filter => self.name.to_owned(),
            Role::Test => format!("is_{}", self.name),
        }
    }
}

/// The entry with this role and name.
pub(crate) fn find(role: Role, name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.role == role && entry.name == name)
}

macro_rules! entries {
    ($( $role:ident $name:literal [$($argument:literal),*] $about:literal, $example:literal = $result:literal => $body:expr; )+) => {
        &[ $( Entry {
            role: Role::$role,
            name: $name,
            arguments: &[$($argument),*],
            about: $about,
            example: $example,
            result: $result,
            body: $body,
        }, )+ ]
    };
}

/// The table, in alphabetical order within each role.
#[rustfmt::skip]
pub(crate) static ENTRIES: &[Entry] = entries! {
    Function "currentEachOutput" ["outputs"] "the outputs of a task in the same iteration of a loop", "currentEachOutput(outputs.load).rowCount" = "" => Some(run::current_each_output);
    Function "dayOfMonth" ["date"] "the day of the month", "dayOfMonth('2020-03-15')" = "15" => Some(dates::day_of_month);
    Function "dayOfWeek" ["date"] "the day of the week, in upper case", "dayOfWeek('2020-03-15')" = "SUNDAY" => Some(dates::day_of_week);
    Function "errorLogs" [] "the errors of the run so far, each with `taskId`, `message` and `timestamp`", "errorLogs()" = "[]" => Some(run::error_logs);
    Function "fetchContext" [] "the same as `printContext`", "fetchContext().flow.id" = "" => Some(run::print_context);
    Function "fileExists" ["path"] "whether the file exists", "fileExists('none.csv')" = "false" => Some(files::exists);
    Function "fileSize" ["path"] "the size of a file in bytes", "fileSize(outputs.extract.uri)" = "" => Some(files::size);
    Function "fileURI" ["path"] "the path of a file in the folder of the flow", "fileURI('query.sql')" = "" => Some(files::uri);
    Function "fromIon" ["ion"] "the value of the first JSON document in a text", "fromIon('{\"a\": 1}').a" = "1" => Some(formats::from_ion);
    Function "fromJson" ["json"] "the value of a JSON document", "fromJson('[1, 2]')[1]" = "2" => Some(formats::from_json);
    Function "hourOfDay" ["date"] "the hour, 0 to 23", "hourOfDay('2020-03-15T09:30:00Z')" = "9" => Some(dates::hour_of_day);
    Function "id" [] "a short random identifier", "id()" = "" => Some(run::id);
    Function "isDayWeekInMonth" ["date", "dayOfWeek", "position"] "whether the date is the FIRST, SECOND, THIRD, FOURTH or LAST such day of its month", "isDayWeekInMonth('2020-03-15', 'SUNDAY', 'THIRD')" = "true" => Some(dates::is_day_week_in_month);
    Function "isFileEmpty" ["path"] "whether a file has no content", "isFileEmpty(outputs.extract.uri)" = "" => Some(files::is_empty);
    Function "isWeekend" ["date"] "whether the date is a Saturday or a Sunday", "isWeekend('2020-03-15')" = "true" => Some(dates::is_weekend);
    Function "json" ["json"] "the same as `fromJson`", "json('{\"a\": [5]}').a[0]" = "5" => Some(formats::from_json);
    Function "kv" ["key", "namespace?", "errorOnMissing?"] "the value of a key in the key-value store", "kv('last_month')" = "" => None;
    Function "max" ["…"] "the largest of its arguments", "max(5, 10, 7)" = "10" => Some(numbers::max);
    Function "min" ["…"] "the smallest of its arguments", "min(5, 10, 7)" = "5" => Some(numbers::min);
    Function "monthOfYear" ["date"] "the number of the month", "monthOfYear('2020-03-15')" = "3" => Some(dates::month_of_year);
    Function "nanoId" ["length?", "alphabet?"] "a random text, of 21 characters unless `length` is given", "nanoId(length=8)" = "" => Some(run::nano_id);
    Function "now" ["format?", "timeZone?", "existingFormat?", "locale?"] "the current time", "now(timeZone='Europe/Paris')" = "" => Some(dates::now);
    Function "printContext" [] "all variables", "printContext().flow.id" = "" => Some(run::print_context);
    Function "randomInt" ["lower", "upper"] "a random whole number from `lower` up to `upper`, which is not included", "randomInt(3, 4)" = "3" => Some(run::random_int);
    Function "randomPort" [] "a free TCP port of this machine", "randomPort()" = "" => Some(run::random_port);
    Function "range" ["start", "end", "increment?"] "the list of the numbers, or of the characters, from `start` to `end`", "range(1, 7, 3)" = "[1,4,7]" => Some(collections::range);
    Function "read" ["path"] "the text of a file: of the run, or in the folder of the flow", "read(outputs.extract.uri)" = "" => Some(files::read);
    Function "render" ["toRender", "recursive?"] "the text with its expressions evaluated, and those in the result", "render('{{ 1 + 1 }}')" = "2" => Some(run::render);
    Function "renderOnce" ["toRender"] "the text with its expressions evaluated once", "renderOnce('{{ 1 + 1 }}')" = "2" => Some(run::render_once);
    Function "secret" ["key"] "the secret, see [Secrets](#secrets)", "secret('API_TOKEN')" = "" => Some(run::secret);
    Function "uuid" [] "a random UUID", "uuid()" = "" => Some(run::uuid);
    Function "yaml" ["yaml"] "the value of a YAML document", "yaml('a: [1, 2]').a[0]" = "1" => Some(formats::from_yaml);

    Filter "abbreviate" ["length"] "the text, cut to `length` characters with an ellipsis", "'a long sentence' | abbreviate(9)" = "a long..." => Some(text::abbreviate);
    Filter "abs" [] "the absolute value", "-7 | abs" = "7" => Some(numbers::abs);
    Filter "base64decode" [] "the text that base64 stands for", "'dGVzdA==' | base64decode" = "test" => Some(text::base64_decode);
    Filter "base64encode" [] "the text in base64", "'test' | base64encode" = "dGVzdA==" => Some(text::base64_encode);
    Filter "capitalize" [] "the text with its first letter in upper case", "'new york' | capitalize" = "New york" => Some(text::capitalize);
    Filter "chunk" ["size"] "a list of lists of `size` items", "[1, 2, 3] | chunk(2)" = "[[1,2],[3]]" => Some(collections::chunk);
    Filter "date" ["format?", "timeZone?", "existingFormat?", "locale?"] "the date as text, see [Dates](#dates)", "'2020-03-01' | date('d MMM yyyy')" = "1 Mar 2020" => Some(dates::date);
    Filter "dateAdd" ["amount", "unit", "format?", "timeZone?", "existingFormat?", "locale?"] "the date, shifted by a number of units such as `DAYS`", "'2020-03-01' | dateAdd(-1, 'MONTHS', 'yyyy-MM')" = "2020-02" => Some(dates::date_add);
    Filter "default" ["default"] "the value, or `default` if the value is missing or empty", "'' | default('none')" = "none" => Some(collections::default);
    Filter "distinct" [] "the list without repeated items", "[1, 2, 1] | distinct" = "[1,2]" => Some(collections::distinct);
    Filter "endsWith" ["value"] "whether the text ends with `value`", "'a.csv' | endsWith('.csv')" = "true" => Some(text::ends_with);
    Filter "escape" ["strategy?"] "the text with the special characters of `html` (the default) or `json` escaped", "'<a>' | escape" = "&lt;a&gt;" => Some(text::escape);
    Filter "escapeChar" ["type"] "the text with its quotes escaped: `single`, `double` or `shell`", "'say \"hi\"' | escapeChar('double')" = "say \\\"hi\\\"" => Some(text::escape_char);
    Filter "first" [] "the first item of a list, or the first character of a text", "['a', 'b'] | first" = "a" => Some(collections::first);
    Filter "flatten" [] "the list with the items of its lists", "[[1, 2], [3]] | flatten" = "[1,2,3]" => Some(collections::flatten);
    Filter "indent" ["amount", "prefix?"] "the text with all lines but the first indented", "'a\nb' | indent(2)" = "a\n  b" => Some(text::indent);
    Filter "join" ["separator?"] "the items of a list as one text", "[1, 2] | join('-')" = "1-2" => Some(collections::join);
    Filter "jq" ["expression"] "the list of the results of a jq program", "{'a': [1, 2]} | jq('.a[] * 10')" = "[10,20]" => Some(formats::jq);
    Filter "json" [] "the same as `toJson`", "{'a': 1} | json" = "{\"a\":1}" => Some(formats::to_json);
    Filter "keys" [] "the keys of a mapping, or the indexes of a list", "{'a': 1, 'b': 2} | keys" = "[\"a\",\"b\"]" => Some(collections::keys);
    Filter "last" [] "the last item of a list, or the last character of a text", "['a', 'b'] | last" = "b" => Some(collections::last);
    Filter "length" [] "the number of items, or of characters", "'taxi' | length" = "4" => Some(collections::length);
    Filter "lower" [] "the text in lower case", "'Green' | lower" = "green" => Some(text::lower);
    Filter "md5" [] "the MD5 digest in hexadecimal", "'test' | md5" = "098f6bcd4621d373cade4e832627b4f6" => Some(text::md5);
    Filter "merge" ["items"] "the list or mapping with those of another added", "[1] | merge([2, 3])" = "[1,2,3]" => Some(collections::merge);
    Filter "nindent" ["amount", "prefix?"] "a line break and the text with all lines indented", "'a\nb' | nindent(2)" = "\n  a\n  b" => Some(text::nindent);
    Filter "number" ["type?"] "the number that a text stands for; `type` is INT, LONG, FLOAT, DOUBLE, BIGINTEGER or BIGDECIMAL", "('12' | number) + 1" = "13" => Some(numbers::number);
    Filter "numberFormat" ["format?"] "the number by a pattern of Java's `DecimalFormat`", "1234567.891 | numberFormat('#,##0.00')" = "1,234,567.89" => Some(numbers::number_format);
    Filter "numberformat" ["format?"] "the same as `numberFormat`", "3.14159 | numberformat('#.##')" = "3.14" => Some(numbers::number_format);
    Filter "replace" ["replace_pairs", "regexp?"] "the text with each key of a mapping replaced by its value; with `regexp=true`, the keys are regular expressions", "'a-b' | replace({'-': '_'})" = "a_b" => Some(text::replace);
    Filter "reverse" [] "the list in reverse order", "[1, 2] | reverse" = "[2,1]" => Some(collections::reverse);
    Filter "rsort" [] "the list in descending order", "[1, 3, 2] | rsort" = "[3,2,1]" => Some(collections::rsort);
    Filter "sha1" [] "the SHA-1 digest in hexadecimal", "'test' | sha1" = "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3" => Some(text::sha1);
    Filter "sha256" [] "the SHA-256 digest in hexadecimal", "('test' | sha256)[0]" = "9" => Some(text::sha256);
    Filter "sha512" [] "the SHA-512 digest in hexadecimal", "'test' | sha512 | length" = "128" => Some(text::sha512);
    Filter "slice" ["fromIndex?", "toIndex?"] "the items, or the characters, from one index to another", "'2020-03' | slice(0, 4)" = "2020" => Some(collections::slice);
    Filter "slugify" [] "the text as a part of a URL", "'Café du Monde!' | slugify" = "cafe-du-monde" => Some(text::slugify);
    Filter "sort" [] "the list in ascending order", "[3, 1, 2] | sort" = "[1,2,3]" => Some(collections::sort);
    Filter "split" ["delimiter", "limit?"] "the parts of a text between the matches of a regular expression", "'a,b,c' | split(',')" = "[\"a\",\"b\",\"c\"]" => Some(text::split);
    Filter "startsWith" ["value"] "whether the text begins with `value`", "'green_1' | startsWith('green')" = "true" => Some(text::starts_with);
    Filter "string" [] "the value as text", "(12 | string) ~ 3" = "123" => Some(text::string);
    Filter "substringAfter" ["separator"] "the text after the first `separator`", "'a.b.c' | substringAfter('.')" = "b.c" => Some(text::substring_after);
    Filter "substringAfterLast" ["separator"] "the text after the last `separator`", "'a.b.c' | substringAfterLast('.')" = "c" => Some(text::substring_after_last);
    Filter "substringBefore" ["separator"] "the text before the first `separator`", "'a.b.c' | substringBefore('.')" = "a" => Some(text::substring_before);
    Filter "substringBeforeLast" ["separator"] "the text before the last `separator`", "'a.b.c' | substringBeforeLast('.')" = "a.b" => Some(text::substring_before_last);
    Filter "timestamp" ["timeZone?", "existingFormat?"] "the seconds since 1970", "'2020-03-01T00:00:00Z' | timestamp" = "1583020800" => Some(dates::timestamp);
    Filter "timestampMicro" ["timeZone?", "existingFormat?"] "the microseconds since 1970", "'2020-03-01T00:00:00Z' | timestampMicro" = "1583020800000000" => Some(dates::timestamp_micro);
    Filter "timestampMilli" ["timeZone?", "existingFormat?"] "the milliseconds since 1970", "'2020-03-01T00:00:00Z' | timestampMilli" = "1583020800000" => Some(dates::timestamp_milli);
    Filter "timestampNano" ["timeZone?", "existingFormat?"] "the nanoseconds since 1970", "'2020-03-01T00:00:00Z' | timestampNano" = "1583020800000000000" => Some(dates::timestamp_nano);
    Filter "title" [] "the text with the first letter of each word in upper case", "'new york' | title" = "New York" => Some(text::title);
    Filter "toIon" [] "the value as a JSON document, which is also Ion", "[1] | toIon" = "[1]" => Some(formats::to_json);
    Filter "toJson" [] "the value as a JSON document", "[1, 'a'] | toJson" = "[1,\"a\"]" => Some(formats::to_json);
    Filter "trim" [] "the text without spaces at its ends", "' a ' | trim" = "a" => Some(text::trim);
    Filter "upper" [] "the text in upper case", "'green' | upper" = "GREEN" => Some(text::upper);
    Filter "urldecode" [] "the text that a part of a URL stands for", "'a%20b+c' | urldecode" = "a b c" => Some(text::url_decode);
    Filter "urlencode" [] "the text as a part of a URL", "'a b&c' | urlencode" = "a+b%26c" => Some(text::url_encode);
    Filter "values" [] "the values of a mapping", "{'a': 1, 'b': 2} | values" = "[1,2]" => Some(collections::values);
    Filter "yaml" [] "the value as a YAML document", "{'a': [1]} | yaml" = "a:\n  - 1\n" => Some(formats::to_yaml);

    Test "defined" [] "whether the value exists", "'a' is defined" = "true" => Some(collections::is_defined);
    Test "empty" [] "whether the value is missing, or a text of spaces, or has no items", "' ' is empty" = "true" => Some(collections::is_empty_value);
    Test "even" [] "whether the number is even", "4 is even" = "true" => Some(numbers::is_even);
    Test "iterable" [] "whether the value is a list", "[1] is iterable" = "true" => Some(collections::is_iterable);
    Test "json" [] "whether the text is a JSON document", "'{' is json" = "false" => Some(formats::is_json);
    Test "map" [] "whether the value is a mapping", "{'a': 1} is map" = "true" => Some(collections::is_map);
    Test "null" [] "whether the value is missing or null", "null is null" = "true" => Some(collections::is_null_value);
    Test "odd" [] "whether the number is odd", "4 is odd" = "false" => Some(numbers::is_odd);
};

/// What Kestra knows and taxi cannot do on one machine, and why.
pub(crate) static NOT_SERVED: &[(&str, &str)] = &[
    ("appLink", "it links to Kestra's web pages"),
    ("block", "expressions have no template files"),
    ("className", "the values are not Java objects"),
    ("credential", "it needs the Enterprise Edition of Kestra"),
    ("decrypt", "it needs the encryption key of a Kestra server; use secret()"),
    ("encrypt", "it needs the encryption key of a Kestra server; use secret()"),
    ("http", "use a task of type io.kestra.plugin.core.http.Request and its outputs"),
    ("i18n", "expressions have no translations"),
    ("isPublicHoliday", "taxi has no calendar of public holidays"),
    ("tasksWithState", "expressions cannot list the states of other tasks; use `errors` or `allowFailure`"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::expression::Scope;
    use crate::flow::expression::tests::template;
    use crate::secrets::Secrets;

    #[test]
    fn every_example_of_the_table_has_its_result() {
        let scope = Scope::new(&Secrets::default());
        for entry in ENTRIES {
            let text = format!("{{{{ {} }}}}", entry.example);
            let template = template(&text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
            if !entry.result.is_empty() {
                let found = scope.fill(&template).map_err(|fault| fault.message);
                assert_eq!(found.as_deref(), Ok(entry.result), "{}", entry.example);
            }
        }
    }

    #[test]
    fn the_table_is_sorted_and_no_name_is_both_served_and_not_served() {
        for role in [Role::Function, Role::Filter, Role::Test] {
            let names: Vec<&str> =
                ENTRIES.iter().filter(|entry| entry.role == role).map(|entry| entry.name).collect();
            assert!(names.is_sorted_by_key(|name| name.to_lowercase()), "{names:?}");
            assert!(NOT_SERVED.iter().all(|(name, _)| !names.contains(name)));
        }
    }
}
